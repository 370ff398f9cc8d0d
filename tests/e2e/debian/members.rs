//! Who is in the package's group may look, and change nothing; everybody else may do neither.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use guest::agent;
use guest::command::{self, CommandOutput, NOBODY};
use guest::debian::{self, UNIT};

const GROUP: &str = "pfnwatch";
const FOLDER: &str = "/var/lib/pfnwatch";
const COPY: &str = "/run/killed";
const LOOKS: [&[&str]; 4] = [&["status"], &["events", "--limit", "3"], &["baseline"], &["alerts", "list"]];
/// Success, and findings: an alert fires.
const ANSWERS: [Option<i32>; 2] = [Some(0), Some(3)];
const CHANGES: [&[&str]; 3] = [&["mode", "audit"], &["guard", "release"], &["allow", "--revoke", "1"]];

/// Runs pfnwatch as a user without privileges, in these groups beside its own.
fn attempt(groups: &str, arguments: &[&str]) -> Result<CommandOutput> {
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let groups = if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={groups}") };
    command::attempt("/usr/bin/setpriv", &[&[&user, &group, &groups, agent::PROGRAM], arguments].concat())
}

pub(super) fn may_look_and_change_nothing() -> Result<()> {
    let group = group()?.to_string();
    for (file, mode) in [("", 0o750), ("/pfnwatch.db", 0o640), ("/pfnwatch.db-wal", 0o640), ("/pfnwatch.db-shm", 0o640)]
    {
        is_readable(&format!("{FOLDER}{file}"), mode)?;
    }
    is_readable("/run/pfnwatch/control.sock", 0o660)?;
    for looks in LOOKS {
        let said = attempt(&group, looks)?;
        ensure!(ANSWERS.contains(&said.code), "a member may not {looks:?}: {said:?}{}", debian::status());
    }
    for looks in LOOKS.iter().take(2) {
        let said = attempt("", looks)?;
        ensure!(said.code == Some(1), "a stranger may {looks:?}: {said:?}");
    }
    for changes in CHANGES {
        let said = attempt(&group, changes)?;
        ensure!(said.code == Some(1) && said.stderr.contains("root"), "a member may {changes:?}: {said:?}");
    }
    killed(&group)?;
    // All is in the one file then, and nothing of SQLite's beside it.
    debian::systemctl(&["stop", UNIT])?;
    reads(&group, &[])
}

fn group() -> Result<u32> {
    let groups = fs::read_to_string("/etc/group").context("no groups")?;
    let line = groups.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(":"));
    let id = line.and_then(|line| line.split(':').nth(1)).context("there is no group pfnwatch")?;
    id.parse().with_context(|| format!("no group id: {id}"))
}

fn is_readable(file: &str, mode: u32) -> Result<()> {
    let meta = fs::metadata(file).with_context(|| format!("no {file}"))?;
    let found = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
    ensure!(
        found == (0, group()?, mode),
        "{file} is of user {}, group {} and has mode {:o}",
        found.0,
        found.1,
        found.2
    );
    Ok(())
}

fn reads(group: &str, arguments: &[&str]) -> Result<()> {
    let said = attempt(group, &[&["events", "--limit", "1"], arguments].concat())?;
    ensure!(said.code == Some(0) && said.stdout.lines().count() == 1, "a member cannot read {arguments:?}: {said:?}");
    Ok(())
}

/// A copy of the three files while the agent runs is what it leaves when it is killed.
fn killed(group: &str) -> Result<()> {
    let root = Path::new(COPY);
    fs::create_dir(root).with_context(|| format!("cannot create {COPY}"))?;
    for name in ["pfnwatch.db", "pfnwatch.db-wal", "pfnwatch.db-shm"] {
        fs::copy(Path::new(FOLDER).join(name), root.join(name)).with_context(|| format!("cannot copy {name}"))?;
        chown(root.join(name), None, Some(group.parse()?))?;
    }
    chown(root, None, Some(group.parse()?))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o750))?;
    reads(group, &["--journal", &format!("{COPY}/pfnwatch.db")])?;
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {COPY}"))
}
