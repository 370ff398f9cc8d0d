//! Makes and removes many things that have nothing to do with persistent memory, and that sysfs and cgroupfs show.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};

use crate::{command, modules};

const CGROUPS: &str = "/sys/fs/cgroup";
const NETWORK: &str = "/sys/class/net";
/// `LOOP_CTL_ADD` and `LOOP_CTL_REMOVE` (include/uapi/linux/loop.h).
const LOOP_ADD: libc::Ioctl = 0x4c80;
const LOOP_REMOVE: libc::Ioctl = 0x4c81;
const LOOPS_FROM: i32 = 100;

pub fn cgroups(count: usize) -> Result<()> {
    for number in 0..count {
        let folder = format!("{CGROUPS}/storm-{number}");
        fs::create_dir(&folder).with_context(|| format!("cannot create {folder}"))?;
        ensure!(Path::new(&folder).join("cgroup.procs").exists(), "{folder} is empty");
        fs::remove_dir(&folder).with_context(|| format!("cannot remove {folder}"))?;
    }
    Ok(())
}

pub fn network_devices(count: usize) -> Result<()> {
    command::run("/sbin/modprobe", &["dummy", &format!("numdummies={count}")])?;
    let made = fs::read_dir(NETWORK).with_context(|| format!("cannot read {NETWORK}"))?.flatten();
    let made = made.filter(|entry| entry.file_name().to_string_lossy().starts_with("dummy")).count();
    modules::unload("dummy")?;
    ensure!(made == count, "{made} network devices of {count}");
    Ok(())
}

pub fn network_namespaces(count: usize) -> Result<()> {
    for _ in 0..count {
        let alone = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET));
        let alone = alone.join().map_err(|_| anyhow!("the thread panicked"))?;
        alone.context("no network namespace")?;
    }
    Ok(())
}

pub fn loop_devices(count: i32) -> Result<()> {
    command::run("/sbin/modprobe", &["loop", "max_loop=0"])?;
    let control = File::open("/dev/loop-control").context("no loop devices")?;
    let ask = |request: libc::Ioctl, number: i32| {
        // SAFETY: both requests take a number, and no pointer.
        Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), request, libc::c_long::from(number)) })
    };
    for number in LOOPS_FROM..LOOPS_FROM + count {
        ask(LOOP_ADD, number).with_context(|| format!("cannot make loop{number}"))?;
        ensure!(Path::new(&format!("/sys/block/loop{number}")).exists(), "loop{number} is nowhere");
    }
    for number in LOOPS_FROM..LOOPS_FROM + count {
        ask(LOOP_REMOVE, number).with_context(|| format!("cannot remove loop{number}"))?;
    }
    drop(control);
    modules::unload("loop")
}
