//! PID 1 of a test guest.

mod bench;
mod bench_agent;
mod bench_ndctl;
mod demo;
mod disk;
mod runner;
mod systemd;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{IFF_RUNNING, IFF_UP, Ioctl, ifreq, ioctl};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::boot_config::{BootConfig, Purpose};
use crate::report::{self, Report};

/// A file that only a test guest has: helpers check it before they change anything.
pub const GUEST_MARK: &str = "/run/pfnwatch-guest";

/// Runs the guest from its first mount to power-off. Refuses to run as anything but its PID 1, or its service.
pub fn run() {
    if process::id() != 1 {
        if systemd::is_service() {
            return serve();
        }
        eprintln!("guest-init is PID 1 of a test guest: `cargo xtask vm` runs it");
        process::exit(2);
    }
    let mounted = mount_all();
    match Port::open() {
        Ok(mut port) => {
            if let Err(error) = mounted.and_then(|()| bring_loopback_up()).and_then(|()| tests(&mut port)) {
                port.send(&Report::Broken { why: format!("{error:#}") });
            }
        }
        // The console is all that is left; the host sees that the verdict is missing.
        Err(error) => eprintln!("guest-init: {error:#}"),
    }
    power_off();
}

fn serve() {
    match Port::open() {
        Ok(mut port) => {
            if let Err(error) = BootConfig::read().and_then(|config| runner::run(&config, &mut port)) {
                port.send(&Report::Broken { why: format!("{error:#}") });
            }
        }
        Err(error) => eprintln!("guest-init: {error:#}"),
    }
    systemd::power_off();
}

fn tests(port: &mut Port) -> Result<()> {
    fs::write(GUEST_MARK, "").with_context(|| format!("cannot write {GUEST_MARK}"))?;
    let config = BootConfig::read()?;
    match config.purpose {
        Purpose::Tests => runner::run(&config, port),
        Purpose::TestsUnderSystemd => match systemd::boot()? {},
        Purpose::Demo => demo::run(port),
        Purpose::DemoMemmapReturn => demo::memmap_return(port),
        Purpose::BenchGuard => bench::run(port),
        Purpose::BenchAgent => bench_agent::run(port),
        Purpose::BenchNdctl => bench_ndctl::run(port),
    }
}

struct Port(File);

impl Port {
    fn open() -> Result<Self> {
        let file = OpenOptions::new().write(true).open(report::DEVICE);
        file.map(Self).with_context(|| format!("cannot open {}", report::DEVICE))
    }

    /// A report that is lost shows on the host as a missing verdict.
    fn send(&mut self, report: &Report) {
        let _ = self.0.write_all(format!("{}\n", report.to_line()).as_bytes());
        let _ = self.0.flush();
    }
}

fn power_off() {
    // The serial driver still holds characters when write() returns.
    if let Ok(port) = OpenOptions::new().write(true).open(report::DEVICE) {
        let _ = nix::sys::termios::tcdrain(&port);
    }
    let _ = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("guest-init: no power-off");
    // PID 1 must not return: a kernel panic would hide the reason above.
    loop {
        std::thread::park();
    }
}

/// `SIOCSIFFLAGS` (include/uapi/linux/sockios.h), which libc has as another type than its `ioctl` takes with musl.
const SET_FLAGS: Ioctl = 0x8914;

/// Switches the loopback device on; the kernel gives it its address by itself.
fn bring_loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the structure is made of numbers alone, for which all bits zero are good values.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.try_into().unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(IFF_UP | IFF_RUNNING).context("flags out of range")?;
    // SAFETY: the descriptor is a socket, and the request a whole ifreq that lives until the call returns.
    let done = unsafe { ioctl(socket.as_raw_fd(), SET_FLAGS, &raw const request) };
    Errno::result(done).map(drop).context("the loopback device cannot be switched on")
}

/// Type and place, in order.
const MOUNTS: [(&str, &str); 10] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        if !Path::new(place).is_dir() {
            fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        }
        // As every distribution has it: what root makes in /run is nobody else's.
        let options = (place == "/run").then_some("mode=755");
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("cannot mount {kind} on {place}"))?;
    }
    for (target, link) in [("/proc/self/fd", "/dev/fd"), ("/proc/self/mounts", "/etc/mtab")] {
        symlink(target, link).with_context(|| format!("cannot link {link}"))?;
    }
    Ok(())
}
