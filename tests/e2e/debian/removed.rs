//! Removal and purge: nothing stays, in the file system or in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::{boot_config, command, creation, wait};

use super::{ENFORCE_AND_HOLD, oversize};
use guest::bpf::HeldObjects;

const TIMEOUT: Duration = Duration::from_secs(30);
const STATE: &str = "/var/lib/pfnwatch/pfnwatch.db";
const PINS: &str = "/sys/fs/bpf/pfnwatch";
const ELSEWHERE: [&str; 2] = [PINS, "/run/pfnwatch"];
const OTHERS: [&str; 6] = ["/var/lib/dpkg", "/var/log", "/var/lib/systemd/timers", "/tmp", "/var/tmp", "/var/cache"];

struct Host {
    files: BTreeSet<PathBuf>,
    users: String,
}

impl Host {
    fn look() -> Result<Self> {
        let mut files = BTreeSet::new();
        let root = fs::symlink_metadata("/").context("no root")?.dev();
        add_files(Path::new("/"), root, &mut files)?;
        files.extend(ELSEWHERE.map(PathBuf::from).into_iter().filter(|place| place.exists()));
        let users = fs::read_to_string("/etc/passwd")? + &fs::read_to_string("/etc/group")?;
        Ok(Self { files, users })
    }

    /// Everything whose name contains the package's, except the tests' own files.
    fn named(&self) -> Vec<&PathBuf> {
        let ours =
            |file: &&PathBuf| file.to_string_lossy().contains("pfnwatch") && !file.starts_with(boot_config::PATH);
        self.files.iter().filter(ours).collect()
    }
}

fn exists(file: &str) -> bool {
    Path::new(file).exists()
}

fn add_files(dir: &Path, device: u64, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        // What has gone meanwhile is not there.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.dev() != device || OTHERS.iter().any(|other| path == Path::new(other)) {
            continue;
        }
        if meta.is_dir() {
            add_files(&path, device, files)?;
        }
        files.insert(path);
    }
    Ok(())
}

/// systemd reloads its own programs now and then: their ids change, their number does not. A program of the test before
/// may still be on its way out.
fn no_program_but(before: &HeldObjects) -> Result<()> {
    let is_as_before = |now: &HeldObjects| {
        let more = now.programs.len() > before.programs.len() || now.maps.len() > before.maps.len();
        let HeldObjects { links, kprobes, trampolines, .. } = now.beyond(before);
        !more && links.is_empty() && kprobes.is_empty() && trampolines.is_empty()
    };
    wait::until("a kernel without pfnwatch", TIMEOUT, || HeldObjects::look().ok().filter(is_as_before).map(drop))
        .with_context(|| format!("before: {before:?}\nnow: {:?}", HeldObjects::look()))
}

#[test]
fn purge_leaves_nothing_behind_and_no_program() -> Result<()> {
    let region = debian::fresh()?;
    let (before, kernel) = (Host::look()?, HeldObjects::look()?);
    ensure!(before.named().is_empty(), "the test before has left {:?}", before.named());
    debian::install(PACKAGE)?;
    debian::active()?;
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::systemctl(&["restart", UNIT])?;
    debian::armed()?;
    ensure!(exists(STATE) && exists(PINS), "neither state nor pins{}", debian::status());
    ensure!(HeldObjects::look()?.beyond(&kernel).programs.len() >= 16, "no programs{}", debian::status());

    // A removal keeps configuration and state, and nobody guards any more.
    command::run("/bin/dpkg", &["--remove", "pfnwatch"])?;
    assert_eq!(property(UNIT, "ActiveState")?, "inactive");
    creation::create(&oversize(&region)).context("the package is removed")?;
    no_program_but(&kernel)?;
    for kept in ["/etc/pfnwatch/pfnwatch.toml", "/etc/pfnwatch/conf.d/50-test.toml", STATE] {
        ensure!(exists(kept), "{kept} is gone");
    }

    command::run("/bin/dpkg", &["--purge", "pfnwatch"])?;
    let after = Host::look()?;
    let left: Vec<_> = after.files.difference(&before.files).collect();
    let gone: Vec<_> = before.files.difference(&after.files).collect();
    ensure!(left.is_empty() && gone.is_empty(), "left behind: {left:?}, taken away: {gone:?}");
    assert_eq!(after.users, before.users);
    assert_eq!(property(UNIT, "LoadState")?, "not-found");
    no_program_but(&kernel)
}
