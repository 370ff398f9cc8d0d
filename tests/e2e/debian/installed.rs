//! A fresh installation, on a host whose persistent memory comes later, used as automation uses it: by exit codes, JSON and
//! the system's journal. The service is started once; at the end members of its group look, and it is given a mistake.

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::command::{self, CommandOutput};
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::{agent, modules, ndctl, pfnwatch, sysfs};
use serde_json::{Value, json};

use super::members;

const MISTAKE: &str = "[[alerts.receivers]]\nurl = \"https://user:hunter2@example.com/hunter2\" nonsense\n";
const CREATE: [&str; 8] = ["-m", "fsdax", "-M", "dev", "-s", "1G", "-a", "2M"];

/// Runs `pfnwatch ARGUMENTS`, which must end with this code.
fn ends(code: i32, arguments: &[&str]) -> Result<CommandOutput> {
    let said = command::attempt(agent::PROGRAM, arguments)?;
    ensure!(said.code == Some(code), "pfnwatch {arguments:?} did not end with {code}: {said:?}{}", debian::status());
    Ok(said)
}

/// Without persistent memory at first, as most hosts are.
#[test]
fn waits_and_tells_everywhere_and_refuses_once_it_is_told_to() -> Result<()> {
    debian::fresh()?;
    modules::unload_stack()?;
    debian::install(PACKAGE)?;
    debian::active()?;
    assert_eq!(property(UNIT, "UnitFileState")?, "enabled");
    debian::event("that it is idle", |event| has_text(event, "event", "ready") && has_text(event, "state", "idle"))?;
    modules::load_regions(1)?;
    debian::event("that it observes", |event| {
        has_text(event, "event", "ready") && has_text(event, "state", "observing")
    })?;
    let region = sysfs::devices("region").swap_remove(0);
    ends(0, &["scan"])?;

    let made = ndctl::create(&region, &CREATE)?;
    // What ndctl calls the uuid of an fsdax namespace is its block's.
    let uuid = ndctl::text(&made, "uuid")?;
    let is_ours = |event: &Value| has_text(event, "event", "set_up") && has_text(event, "block_uuid", uuid);
    let event = debian::event("the event of what was made", is_ours)?;
    let expected =
        json!({ "verdict": "oversize", "cause": "regressed_kernel", "excess_bytes": 16 << 20, "block": "made" });
    pfnwatch::ensure_contains(&event, &expected)?;
    let uuid = event["namespace_uuid"].as_str().context("no uuid")?;
    let matches = ["PFNWATCH_EVENT=set_up", &format!("PFNWATCH_NAMESPACE_UUID={uuid}")];
    let entries = debian::log_lines(&matches)?;
    let [entry] = entries.as_slice() else { anyhow::bail!("not one entry of {matches:?}: {entries:#?}") };
    let fields = json!({
        "PFNWATCH_VERDICT": "oversize", "PFNWATCH_EXCESS_BYTES": (16 << 20).to_string(),
        "PFNWATCH_ID": event["id"].to_string(), "_SYSTEMD_UNIT": UNIT,
    });
    pfnwatch::ensure_contains(entry, &fields)?;

    // What a script goes by.
    ends(3, &["scan"])?;
    ends(3, &["kernel", "--running"])?;
    ends(0, &["status"])?;
    ends(2, &["scan", "--no-such-option"])?;
    ends(1, &["events", "--journal", "/no/such/file"])?;
    ndctl::destroy(ndctl::text(&made, "dev")?)?;
    ends(0, &["scan"])?;

    // A reload is enough for another mode, and the reason of a refusal is where an administrator looks.
    debian::configure("[guard]\nmode = \"enforce\"\n")?;
    debian::systemctl(&["reload", UNIT])?;
    debian::armed()?;
    let create = [["create-namespace", "-r", &region].as_slice(), &CREATE].concat();
    let said = command::attempt("/bin/ndctl", &create)?;
    ensure!(said.code.is_some_and(|code| code != 0), "it was not refused: {said:?}{}", debian::status());
    debian::event("the refusal", |event| has_text(event, "event", "denied"))?;
    let entries = debian::log_lines(&["PFNWATCH_EVENT=denied"])?;
    ensure!(entries.len() == 1, "not one refusal: {entries:#?}");
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    members::may_look_and_change_nothing()?;
    mistake_is_told_without_secrets()
}

/// The service is stopped before. It does not start, is not restarted, and reports why in the system's journal.
fn mistake_is_told_without_secrets() -> Result<()> {
    debian::configure(MISTAKE)?;
    let said = command::attempt("/bin/systemctl", &["start", UNIT])?;
    ensure!(said.code != Some(0), "it started: {}", debian::status());
    assert_eq!(property(UNIT, "ActiveState")?, "failed", "{}", debian::status());
    assert_eq!(property(UNIT, "ExecMainStatus")?, "2", "{}", debian::status());
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    let entries = debian::journal(&[])?;
    let has = |word: &str| entries.iter().any(|entry| entry.to_string().contains(word));
    ensure!(has("50-test.toml") && has("line 2") && !has("hunter2"), "{}", debian::status());
    let said = ends(2, &["policy", "check"])?;
    ensure!(said.stderr.contains("hunter2"), "who may read the file is not shown the line: {said:?}");
    Ok(())
}
