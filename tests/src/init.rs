//! PID 1 of a test guest.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

use crate::boot_config::{Orders, Purpose};
use crate::report::{self, Report};

mod bench;
mod bench_agent;
mod bench_ndctl;
mod demo;
mod disk;
mod loopback;
mod mounts;
mod runner;
mod systemd;

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
    let mounted = mounts::mount_all();
    match Port::open() {
        Ok(mut port) => {
            if let Err(error) = mounted.and_then(|()| loopback::up()).and_then(|()| tests(&mut port)) {
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
            if let Err(error) = Orders::read().and_then(|orders| runner::run(&orders, &mut port)) {
                port.send(&Report::Broken { why: format!("{error:#}") });
            }
        }
        Err(error) => eprintln!("guest-init: {error:#}"),
    }
    systemd::power_off();
}

fn tests(port: &mut Port) -> Result<()> {
    fs::write(GUEST_MARK, "").with_context(|| format!("cannot write {GUEST_MARK}"))?;
    let orders = Orders::read()?;
    match orders.purpose {
        Purpose::Tests => runner::run(&orders, port),
        Purpose::TestsUnderSystemd => match systemd::boot()? {},
        Purpose::Demo => demo::run(port),
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
    // PID 1 may not return: that would be a kernel panic in place of the reason above.
    loop {
        std::thread::park();
    }
}
