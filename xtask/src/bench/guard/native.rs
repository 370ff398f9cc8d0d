//! `bench guard --native`: the same storm of cgroups on this host itself, by the kernel's statistics of programs, in nanoseconds.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use fs_err as fs;
use guest::bpf::{self, Counting, Empty, Program, Runs};
use guest::{sysfs_load, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::json;

use super::{Findings, Row, quantile};
use crate::architecture::Architecture;
use crate::debian::NotAvailable;
use crate::{build_ebpf, paths};

const GUARD: Program = Program::Named("guard");
const ROUNDS: usize = 9;
const CGROUPS: usize = 200;
const ARMED_LIMIT: Duration = Duration::from_secs(30);

/// Measures a program that does nothing, then the guard of the agent in audit mode.
pub(in super::super) fn measure() -> Result<Findings> {
    possible()?;
    let object = build_ebpf::empty(Architecture::HOST)?;
    let attached = Empty::attach(&object).map_err(|error| cannot(&format!("{error:#}")))?;
    let empty = rounds(bpf::EMPTY_PROGRAM)?;
    drop(attached);
    if !Path::new("/sys/bus/nd").exists() {
        return Err(cannot("libnvdimm is not loaded, and without it there is no guard: modprobe libnvdimm"));
    }
    let agent = Agent::start()?;
    let guard = rounds(GUARD)?;
    drop(agent);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    Ok(Findings {
        head: format!("on this host, kernel {release}; the statistics' own cost included"),
        peer: "empty program",
        rows: vec![Row::new("node that is no link, a call: audit", "ns", guard).beside(empty)],
        report: json!({ "kernel": release }),
    })
}

fn cannot(why: &str) -> Error {
    NotAvailable(format!("this host cannot be measured on: {why}")).into()
}

/// The error names what of the host is in the way.
fn possible() -> Result<()> {
    if !Uid::effective().is_root() {
        return Err(cannot("it needs root, to load programs"));
    }
    // If it cannot be read, the kernel itself decides whether it takes the program.
    if let Ok(active) = fs::read_to_string("/sys/kernel/security/lsm") {
        let active = active.trim();
        if !active.split(',').any(|module| module == "bpf") {
            return Err(cannot(&format!(
                "bpf is not among the active security modules ({active}): boot with lsm=…,bpf"
            )));
        }
    }
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Err(cannot("/sys/fs/cgroup is no cgroup2, in which nodes are made"));
    }
    Ok(())
}

fn rounds(program: Program) -> Result<f64> {
    // The first fills the kernel's caches.
    sysfs_load::cgroups(CGROUPS)?;
    let round = || -> Result<f64> {
        let before = Runs::of(program)?;
        let counting = Counting::start()?;
        sysfs_load::cgroups(CGROUPS)?;
        drop(counting);
        let runs = Runs::of(program)?.since(before);
        ensure!(runs.count > 0, "{program:?} did not run");
        // Both are far below 2^53.
        Ok(runs.time.as_nanos() as f64 / runs.count as f64)
    };
    let values = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    quantile(values, 50).context("no round was measured")
}

/// The agent in audit mode, with nothing of it outside a folder of its own. Ended when dropped.
struct Agent {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let config = folder.path().join("pfnwatch.toml");
        fs::write(&config, "[guard]\nmode = \"audit\"\n[web]\nenabled = false\n[store]\nenabled = false\n")?;
        let mut command = Command::new(paths::agent());
        command.args(["run", "--config"]).arg(&config).arg("--control-socket").arg(folder.path().join("socket"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("pfnwatch cannot be started")?;
        let agent = Self { child, _folder: folder };
        wait::until("the guard on its hook", ARMED_LIMIT, || Runs::of(GUARD).ok().map(drop))?;
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
