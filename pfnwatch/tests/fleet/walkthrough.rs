//! The commands in docs/fleet.md print what it shows: each block ```console fleet is run and compared.
//! `PFNWATCH_BLESS=1` updates the page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::reports;
use super::stack::{tool, wanted};

/// The second word marks blocks that are not typed in a guest.
const FENCE: &str = "\n```console fleet\n";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fleet.md")
}

pub(crate) fn agrees(prometheus: SocketAddr, alertmanager: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let page = page();
    let shown = fs::read_to_string(&page).unwrap();
    configuration_is_right(&shown, folder.path());
    let mut now = String::new();
    let mut rest = shown.as_str();
    let mut commands = 0;
    while let Some((before, block)) = rest.split_once(FENCE) {
        let (block, after) = block.split_once("\n```\n").unwrap();
        now += &format!("{before}{FENCE}");
        // A line that begins so is a command; all others are its output.
        for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            now += &format!("$ {command}\n{}", run(command, folder.path(), prometheus, alertmanager));
            commands += 1;
        }
        now += "```\n";
        rest = after;
    }
    now += rest;
    assert!(commands >= 6, "only {commands} commands in {}", page.display());
    if env::var_os("PFNWATCH_BLESS").is_some() {
        fs::write(&page, now).unwrap();
        return;
    }
    let differs = shown.lines().zip(now.lines()).find(|(shown, now)| steady(shown) != steady(now));
    assert!(
        differs.is_none(),
        "docs/fleet.md shows\n{}\nand it is now\n{}\nPFNWATCH_BLESS=1 rewrites it",
        differs.unwrap().0,
        differs.unwrap().1
    );
    assert_eq!(
        shown.lines().count(),
        now.lines().count(),
        "docs/fleet.md shows more or less than there is now:\n{now}"
    );
}

fn prepare(folder: &Path) {
    let reports = folder.join("reports");
    fs::create_dir(&reports).unwrap();
    let template = reports::template(Path::new(env!("CARGO_BIN_EXE_pfnwatch")), 4).unwrap();
    reports::fill(&reports, &template, 3).unwrap();
    fs::write(reports.join("host3.json"), "{\"schema\": 1, \"ti").unwrap();
}

fn run(command: &str, folder: &Path, prometheus: SocketAddr, alertmanager: SocketAddr) -> String {
    let here = command.replace("http://prometheus:9090", &format!("http://{prometheus}"));
    let here = here.replace("http://alertmanager:9093", &format!("http://{alertmanager}"));
    let pfnwatch = Path::new(env!("CARGO_BIN_EXE_pfnwatch")).parent().unwrap();
    let amtool = wanted("PFNWATCH_ALERTMANAGER").parent().unwrap().join("usr/bin");
    let places = [pfnwatch, &amtool].map(|place| place.display().to_string()).join(":");
    let path = format!("{places}:{}", env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", &format!("exec 2>&1; {here}")]).env("PATH", path).current_dir(folder).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    said.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A line without its variable parts: the time of an alarm, and a share of scrapes.
fn steady(line: &str) -> String {
    let digits = |word: &str| word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let changes = line.contains(" UTC ") || line.contains("% of the scrapes");
    if changes { digits(line).replace("00", "0") } else { line.to_owned() }
}

fn configuration_is_right(page: &str, folder: &Path) {
    let (_, block) = page.split_once("\n```yaml\n").unwrap();
    let (text, _) = block.split_once("\n```\n").unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/prometheus");
    let file = folder.join("prometheus.yml");
    fs::write(&file, text.replace("/usr/share/doc/pfnwatch/examples/prometheus", rules.to_str().unwrap())).unwrap();
    fs::write(folder.join("hosts.json"), "[]").unwrap();
    let output = Command::new(tool("promtool")).args(["check", "config"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
