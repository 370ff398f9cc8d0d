//! Checks of the package: its files are what the documents promise, owned by root, and systemd accepts the unit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::process::Task;
use crate::setup::host_has;
use crate::{paths, traces};

/// What an installed pfnwatch may take, of the design's budgets.
const MAX_BINARY_BYTES: u64 = 10 << 20;

/// The program, and files that have to be there.
const PROGRAM: &str = "./usr/bin/pfnwatch";
const FILES: &str = "./usr/lib/systemd/system/pfnwatch.service ./usr/lib/sysusers.d/pfnwatch.conf \
    ./usr/lib/tmpfiles.d/pfnwatch.conf ./etc/pfnwatch/pfnwatch.toml ./usr/share/man/man1/pfnwatch.1.gz \
    ./usr/share/man/man1/pfnwatch-run.1.gz ./usr/share/man/man1/pfnwatch-policy-check.1.gz \
    ./usr/share/bash-completion/completions/pfnwatch ./usr/share/zsh/vendor-completions/_pfnwatch \
    ./usr/share/fish/vendor_completions.d/pfnwatch.fish ./usr/share/doc/pfnwatch/install.md \
    ./usr/share/doc/pfnwatch/reference/events.md ./usr/share/doc/pfnwatch/runbook.md \
    ./usr/share/doc/pfnwatch/changelog.gz ./usr/share/doc/pfnwatch/troubleshooting.md \
    ./usr/share/doc/pfnwatch/copyright ./usr/share/doc/pfnwatch/examples/pfnwatch.toml";

/// What the maintainer scripts have to do.
const SCRIPTS: [(&str, &str); 8] = [
    ("postinst", "systemd-sysusers ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} pfnwatch.conf"),
    ("postinst", "deb-systemd-helper enable pfnwatch.service"),
    ("postinst", "_dh_action=restart"),
    ("prerm", "deb-systemd-invoke stop pfnwatch.service"),
    ("prerm", "pfnwatch guard release"),
    ("postrm", "groupdel pfnwatch"),
    ("postrm", "rm -rf /var/lib/pfnwatch"),
    ("postrm", "deb-systemd-helper purge pfnwatch.service"),
];

/// The file's name, for people.
pub(super) fn name(deb: &Path) -> String {
    deb.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Looks at the package as whoever installs it would.
///
/// # Errors
/// The first thing that is not as it should be.
pub(super) fn package(deb: &Path) -> Result<()> {
    let contents = dpkg_deb("--contents", deb)?;
    let files = FILES.split(' ').map(|file| ("-rw-r--r--", file));
    for (mode, file) in files.chain([("-rwxr-xr-x", PROGRAM)]) {
        let there = contents.lines().any(|line| is_entry(line, mode, file));
        ensure!(there, "the package lacks {file} with {mode}, owned by root; it has:\n{contents}");
    }
    let pages = contents.lines().filter(|line| line.contains("/man1/pfnwatch") && line.ends_with(".1.gz")).count();
    let commands = subcommands()?;
    ensure!(pages > commands, "the package has {pages} man pages for {commands} commands and pfnwatch itself");
    let binary = paths::target().join("release/pfnwatch");
    let bytes = binary.metadata().context("the agent is not built")?.len();
    // Without LTO, as one builds again and again, it is larger.
    let limited = std::env::var_os("CARGO_PROFILE_RELEASE_LTO").is_none();
    ensure!(!limited || bytes <= MAX_BINARY_BYTES, "the binary has {bytes} bytes, more than {MAX_BINARY_BYTES}");
    traces::refuse(&binary)?;
    control(deb)
}

/// A line of `dpkg-deb --contents` for this file, with this mode and root as owner.
fn is_entry(line: &str, mode: &str, file: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    // cargo-deb leaves the names of users out.
    let owned = |by: &str| words.starts_with(&[mode, by]);
    (owned("root/root") || owned("0/0")) && words.last() == Some(&file)
}

fn control(deb: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let text = folder.path().to_str().context("the temporary folder's path is no text")?;
    let deb = deb.to_str().context("the package's path is no text")?;
    Task::new("dpkg-deb", ["--control", deb, text]).read()?;
    let read =
        |name: &str| fs::read_to_string(folder.path().join(name)).with_context(|| format!("the package has no {name}"));
    let conffiles = read("conffiles")?;
    ensure!(conffiles.trim() == "/etc/pfnwatch/pfnwatch.toml", "the conffiles are {conffiles:?}");
    let control = read("control")?;
    ensure!(control.contains("Package: pfnwatch\n"), "{control}");
    ensure!(control.contains("libc6"), "the package depends on no C library:\n{control}");
    for (script, line) in SCRIPTS {
        ensure!(read(script)?.contains(line), "{script} lacks `{line}`:\n{}", read(script)?);
    }
    for script in ["postinst", "prerm", "postrm"] {
        Task::new("sh", ["-n", script])
            .dir(folder.path())
            .read()
            .with_context(|| format!("{script} is no shell script"))?;
    }
    Ok(())
}

/// How many commands `pfnwatch --help` tells of.
fn subcommands() -> Result<usize> {
    let said = Task::new(paths::target().join("release/pfnwatch"), ["--help"]).read()?;
    let commands = said.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // `help` has no page.
    let count = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   ")).count().saturating_sub(1);
    ensure!(count > 0, "`pfnwatch --help` tells of no commands");
    Ok(count)
}

fn dpkg_deb(what: &str, deb: &Path) -> Result<String> {
    let deb = deb.to_str().context("the package's path is no text")?;
    Task::new("dpkg-deb", [what, deb]).limit(Duration::from_secs(60)).read()
}

const UNIT: &str = "pfnwatch.service";

/// The exposure that `systemd-analyze security` of systemd 252 finds, times ten (docs/install.md names it): no change may raise it unseen.
const MAX_EXPOSURE: &str = "36";

/// Has systemd read the unit, and say how much it is exposed. Where there is no systemd, says so and does nothing.
///
/// # Errors
/// systemd does not understand something, or the unit is more exposed than it was.
pub(super) fn unit() -> Result<()> {
    if !host_has("systemd-analyze") {
        eprintln!("the unit was not verified: this host has no systemd-analyze");
        return Ok(());
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let unit =
        fs::read_to_string(paths::root().join("pfnwatch/dist/systemd").join(UNIT)).context("the unit is missing")?;
    let binary = paths::target().join("release/pfnwatch");
    let here = unit.replace("ExecStart=/usr/bin/pfnwatch", &format!("ExecStart={}", binary.display()));
    fs::write(folder.path().join(UNIT), here)?;
    let task = |arguments: &[&str]| {
        let arguments = arguments.iter().chain(&[UNIT]);
        Task::new("systemd-analyze", arguments).dir(folder.path()).env("LC_ALL", "C").limit(Duration::from_secs(60))
    };
    let said = task(&["verify", "--man=no"]).read_stderr()?;
    ensure!(!said.contains(UNIT), "systemd-analyze verify says:\n{said}");
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    task(&["security", "--offline=yes", "--no-pager", &threshold]).read().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_by_mode_owner_and_path() {
        let line = "-rwxr-xr-x root/root  10233104 2026-11-23 00:00 ./usr/bin/pfnwatch";
        assert!(is_entry(line, "-rwxr-xr-x", "./usr/bin/pfnwatch"));
        assert!(is_entry(&line.replace("root/root", "0/0"), "-rwxr-xr-x", "./usr/bin/pfnwatch"));
        assert!(!is_entry(line, "-rw-r--r--", "./usr/bin/pfnwatch"));
        assert!(!is_entry(line, "-rwxr-xr-x", "./usr/bin/pfnwatc"));
        assert!(!is_entry(&line.replace("root/root", "me/root"), "-rwxr-xr-x", "./usr/bin/pfnwatch"));
    }
}
