//! A guest whose user space is a Debian under systemd, on a disk.
//!
//! PID 1 of the initramfs finds the disk, adds the tests as a service that is nowhere but in /run, and becomes systemd. The
//! service then runs the tests, and powers the guest off.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, execv};

use super::GUEST_MARK;
use crate::{boot_config, debian, wait};

/// The cloud flavour's kernels have its driver built in.
const DISK: &str = "/dev/nvme0n1";
const DISK_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the disk is mounted until it is the root.
const ROOT: &str = "/root";
/// This program, and its path in the Debian.
const SELF: (&str, &str) = ("/init", "/bin/guest-init");
const SHARED: [(&str, &str); 2] = [("/bin", debian::PROGRAMS), (debian::PACKAGES_IN_INITRAMFS, debian::PACKAGES)];
const UNIT: &str = "pfnwatch-e2e.service";

pub(super) fn boot() -> Result<Infallible> {
    wait::until(DISK, DISK_TIMEOUT, || Path::new(DISK).exists().then_some(()))?;
    create_dir(ROOT)?;
    let mounted = mount(Some(DISK), ROOT, Some("ext4"), MsFlags::empty(), None::<&str>);
    mounted.with_context(|| format!("cannot mount {DISK}"))?;
    fs::copy(SELF.0, SELF.1).with_context(|| format!("cannot copy {}", SELF.0))?;
    for (from, to) in SHARED {
        create_dir(to)?;
        bind(from, to)?;
    }
    let modules = format!("{ROOT}/usr/lib/modules");
    create_dir(&modules)?;
    bind("/lib/modules", &modules)?;
    fs::copy(boot_config::PATH, format!("{ROOT}{}", boot_config::PATH))
        .context("cannot copy the boot configuration")?;
    add_service()?;
    for place in ["/proc", "/sys", "/dev", "/run"] {
        let moved = mount(Some(place), format!("{ROOT}{place}").as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>);
        moved.with_context(|| format!("cannot move {place}"))?;
    }
    chdir(ROOT).context("no root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("cannot make the disk the root")?;
    chroot(".").context("cannot enter the disk")?;
    execv(c"/sbin/init", &[CString::from(c"/sbin/init")]).context("the disk has no systemd")
}

fn add_service() -> Result<()> {
    let units = Path::new("/run/systemd/system");
    let wants = units.join("multi-user.target.wants");
    create_dir(&wants.to_string_lossy())?;
    let program = format!("{}/guest-init", debian::PROGRAMS);
    let text = format!("[Unit]\nDescription=The end-to-end tests\n\n[Service]\nExecStart={program} service\n");
    fs::write(units.join(UNIT), text).with_context(|| format!("cannot write {UNIT}"))?;
    symlink(units.join(UNIT), wants.join(UNIT)).with_context(|| format!("cannot enable {UNIT}"))
}

/// Powers the guest off with its disk synced, and without waiting for each unit's end.
pub(super) fn power_off() {
    let _ = Command::new("/bin/systemctl").args(["poweroff", "--force"]).status();
}

pub(super) fn is_service() -> bool {
    Path::new(GUEST_MARK).exists() && std::env::args().nth(1).as_deref() == Some("service")
}

fn bind(from: &str, to: &str) -> Result<()> {
    let bound = mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.with_context(|| format!("cannot have {from} at {to}"))
}

fn create_dir(dir: &str) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))
}
