//! Removal and purge: nothing stays, in the file system or in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::bpf::{self, Kind};
use guest::creation;
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::{command, wait};

use super::{ENFORCE_AND_HOLD, oversize};

const LIMIT: Duration = Duration::from_secs(30);
/// What dpkg and systemd write of their own.
const OTHERS: [&str; 6] = ["/var/lib/dpkg", "/var/log", "/var/lib/systemd/timers", "/tmp", "/var/tmp", "/var/cache"];

/// All that the package could leave behind.
#[derive(Debug)]
struct Host {
    files: BTreeSet<PathBuf>,
    users: String,
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Host {
    fn look() -> Result<Self> {
        let mut files = BTreeSet::new();
        let root = fs::symlink_metadata("/").context("no root")?.dev();
        add_files(Path::new("/"), root, &mut files)?;
        for place in ["/run/pfnwatch", "/run/systemd/system/pfnwatch.service", "/sys/fs/bpf/pfnwatch"] {
            files.extend(Some(PathBuf::from(place)).filter(|place| place.exists()));
        }
        let users = fs::read_to_string("/etc/passwd")? + &fs::read_to_string("/etc/group")?;
        let ids = |kind| bpf::ids(kind).map(BTreeSet::from_iter);
        Ok(Self { files, users, programs: ids(Kind::Programs)?, maps: ids(Kind::Maps)? })
    }
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

/// Programs of systemd's own come and go: what counts is that none is there that was not.
fn no_program_but(before: &Host) -> Result<()> {
    let now =
        || Host::look().ok().filter(|now| now.programs.is_subset(&before.programs) && now.maps.is_subset(&before.maps));
    wait::until("a kernel without pfnwatch", LIMIT, now)
        .map(drop)
        .with_context(|| format!("before: {before:?}\nnow: {:?}", Host::look()))
}

#[test]
fn purge_leaves_nothing_behind_and_no_program() -> Result<()> {
    let region = debian::fresh()?;
    let before = Host::look()?;
    ensure!(!before.files.iter().any(|file| file.to_string_lossy().contains("pfnwatch.")), "{before:?}");
    debian::install(PACKAGE)?;
    debian::active()?;
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::systemctl(&["restart", UNIT])?;
    debian::armed()?;
    let during = Host::look()?;
    ensure!(during.files.contains(Path::new("/var/lib/pfnwatch/pfnwatch.db")), "no state: {during:?}");
    ensure!(during.files.contains(Path::new("/sys/fs/bpf/pfnwatch")), "nothing is pinned: {during:?}");

    // A removal keeps configuration and state, and nobody guards any more.
    command::run("/bin/dpkg", &["--remove", "pfnwatch"])?;
    assert_eq!(property(UNIT, "ActiveState")?, "inactive");
    creation::create(&oversize(&region)).context("the package is removed")?;
    no_program_but(&before)?;
    let removed = Host::look()?;
    for kept in ["/etc/pfnwatch/pfnwatch.toml", "/var/lib/pfnwatch/pfnwatch.db"] {
        ensure!(
            removed.files.contains(Path::new(kept)),
            "{kept} is gone: {:?}",
            removed.files.difference(&before.files)
        );
    }

    command::run("/bin/dpkg", &["--purge", "pfnwatch"])?;
    let after = Host::look()?;
    let left: Vec<_> = after.files.difference(&before.files).collect();
    let gone: Vec<_> = before.files.difference(&after.files).collect();
    ensure!(left.is_empty() && gone.is_empty(), "left behind: {left:?}, taken away: {gone:?}");
    assert_eq!(after.users, before.users);
    assert_eq!(property(UNIT, "LoadState")?, "not-found");
    no_program_but(&before)
}
