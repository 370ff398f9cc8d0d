//! The agent in a root file system with no file but its own program: no C library, no loader, no configuration, no users.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, PROGRAM};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{GIB, MIB, command, pfnwatch, regions};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

const CHROOT: &str = "/bin/chroot";
const ROOT: &str = "/run/alone";
const PROGRAM_THERE: &str = "/pfnwatch";
/// Where the agent makes its own.
const EMPTY_FOLDERS: [&str; 2] = ["run", "var/lib"];
const KERNEL_FOLDERS: [&str; 2] = ["proc", "sys"];

/// Of the 20 MiB that the kernel's types and symbols take at the start, an allocator without `malloc_trim` has to return nearly all by itself: with its
/// text, the agent may have 10 MiB resident.
const MAX_ANONYMOUS: u64 = 4 * MIB;

/// The root, with the kernel's own file systems. They are unmounted when it is dropped.
struct Root;

impl Root {
    fn make() -> Result<Self> {
        let folder = |name: &str| Path::new(ROOT).join(name);
        for name in KERNEL_FOLDERS.iter().chain(&EMPTY_FOLDERS) {
            fs::create_dir_all(folder(name)).with_context(|| format!("no folder {name}"))?;
        }
        let root = Self;
        for name in KERNEL_FOLDERS {
            let (from, flags) = (Path::new("/").join(name), MsFlags::MS_BIND | MsFlags::MS_REC);
            mount(Some(&from), &folder(name), None::<&str>, flags, None::<&str>)
                .with_context(|| format!("no {name}"))?;
        }
        fs::copy(PROGRAM, format!("{ROOT}{PROGRAM_THERE}")).context("no copy of the program")?;
        Ok(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for name in KERNEL_FOLDERS {
            let _ = umount2(&Path::new(ROOT).join(name), MntFlags::MNT_DETACH);
        }
    }
}

#[test]
fn program_scans_and_observes_in_an_empty_root() -> Result<()> {
    let region = regions::fresh()?.first;
    let _root = Root::make()?;
    let arguments = [ROOT, PROGRAM_THERE, "run", "--format", "json"];
    let mut agent = Agent::spawn_by(Command::new(CHROOT).args(arguments))?;
    agent.ready()?;
    let made = creation::create(&NamespaceSpec::new(&region, Mode::Fsdax, GIB))?;
    let event = agent.set_up(&made.namespace_uuid, "made")?;
    ensure!(event["verdict"] == "ok", "{event}");

    let scan = report("scan")?;
    let row = pfnwatch::row(&scan, &made.namespace)?;
    for key in ["reservation_bytes", "usable_bytes", "block_uuid"] {
        ensure!(!row[key].is_null() && row[key] == event[key], "{key} is not the event's: {row:#} {event:#}");
    }
    let status = report("status")?;
    let anonymous = status.pointer("/agent/memory/anonymous_bytes").and_then(Value::as_u64);
    ensure!(anonymous.is_some_and(|bytes| bytes <= MAX_ANONYMOUS), "{anonymous:?} bytes are kept after the start");
    agent.stop_and_count().map(drop)
}

/// What a command there reports.
fn report(command: &str) -> Result<Value> {
    let said = command::attempt(CHROOT, &[ROOT, PROGRAM_THERE, command, "--format", "json"])?;
    ensure!(said.code == Some(0), "{said:?}");
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))
}
