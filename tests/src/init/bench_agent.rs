//! The guest's side of `cargo xtask bench agent`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Port, disk};
use crate::agent::PROGRAM;
use crate::bench::agent::{Figures, Started};
use crate::bench::footprint;
use crate::bench::ground::Ground;
use crate::bench::{TRACER, Work};
use crate::creation::{self, Map, Mode, Wanted};
use crate::report::Report;
use crate::{command, modules, sysfs, wait};

/// The regions of the bench's machine.
const REGIONS: usize = 1;
const NAMESPACES: u64 = 64;
const NAMESPACE_BYTES: u64 = 32 << 20;
/// Starts of each. bpftrace's takes a while, and in a guest that counts instructions one is like the next.
const STARTS: [(Started, usize); 3] = [(Started::Pfnwatch, 3), (Started::OneKprobe, 1), (Started::SameFunctions, 1)];
/// Events of each.
const EVENTS: usize = 100;
/// Until an agent that was started has nothing left to do.
const SETTLE: Duration = Duration::from_secs(20);
/// As long as the guard's proof takes to come round.
const IDLE: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(120);
/// Where the kernel lists its kprobes.
const KPROBES: &str = "/sys/kernel/debug/kprobes/list";

const ONE_KPROBE: &str = "kprobe:nvdimm_setup_pfn { printf(\"set_up of %p\\n\", arg0); }";
/// Entry and return of the same functions, each told with its first argument or its result. Debian 12's bpftrace, 0.17, knows
/// no raw tracepoints, and has exit programs not everywhere: a return probe has to do.
const SAME_FUNCTIONS: &str = "\
kprobe:nvdimm_bus_probe, kprobe:nvdimm_bus_remove, kprobe:nd_namespace_store, kprobe:nd_pmem_namespace_label_update,
kprobe:nd_pfn_validate, kprobe:nvdimm_setup_pfn, kprobe:nd_uuid_store { printf(\"%s %p\\n\", func, arg0); }
kretprobe:really_probe, kretprobe:nvdimm_setup_pfn, kretprobe:nd_pfn_validate, kretprobe:nd_uuid_store { printf(\"%s %d\\n\", func, retval); }";
/// How many functions of it the kernel lists as probed.
const SAME_PROBES: usize = 10;

/// Measures everything, and ends with a verdict.
pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    port.send(&Report::Ready { release, tests: 1 });
    // Named in the error, where the guest's time is over before it is done.
    let mut stage = |name: &str| port.send(&Report::Started { name: name.to_owned() });
    stage("namespaces");
    let ground = prepare()?;
    let mut starts = Vec::new();
    for (what, rounds) in STARTS {
        for _ in 0..rounds {
            stage(&format!("start of {what:?}"));
            let began = Instant::now();
            let watched = Watched::start(what)?;
            starts.push((what, began.elapsed()));
            watched.end()?;
        }
    }
    let mut agent = Watched::start(Started::Pfnwatch)?;
    stage("an idle agent");
    sleep(SETTLE);
    let before = footprint::waits(agent.pid)?;
    sleep(IDLE);
    let wake_ups = footprint::waits(agent.pid)?.saturating_sub(before);
    let (resident, in_kernel) = (footprint::resident(agent.pid)?, footprint::in_kernel(agent.pid)?);
    stage("the agent's lines");
    let lines = agent.lines_of(&ground, "\"event\":\"set_up\"")?;
    agent.end()?;
    let mut peer = Watched::start(Started::OneKprobe)?;
    stage("bpftrace's lines");
    // A probe is in the kernel's list a moment before its program is attached, and what was missed is waited for in vain.
    sleep(SETTLE);
    let peer_lines = peer.lines_of(&ground, "set_up of ")?;
    peer.end()?;
    let namespaces = NAMESPACES;
    port.send(&Report::Agent(Figures {
        namespaces,
        starts,
        resident,
        in_kernel,
        idle: IDLE,
        wake_ups,
        lines,
        peer_lines,
    }));
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "bench agent".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
    Ok(())
}

/// Namespaces that are enabled, and a creation that the kernel refuses.
fn prepare() -> Result<Ground> {
    modules::load_regions(REGIONS)?;
    for arguments in [["disable-region", "all"].as_slice(), &["init-labels", "-f", "all"], &["enable-region", "all"]] {
        command::run("/bin/ndctl", arguments)?;
    }
    let region = sysfs::devices("region").into_iter().next().context("no region")?;
    let wanted = Wanted {
        region: region.clone(),
        size_bytes: NAMESPACE_BYTES,
        mode: Mode::Fsdax,
        map: Map::Dev,
        align_bytes: 2 << 20,
    };
    let first = creation::create(&wanted)?;
    for _ in 1..NAMESPACES {
        creation::create(&wanted)?;
    }
    // Before the region takes no more writes.
    disk::install(PROGRAM, &sysfs::block_device(&first.claimer)?)?;
    Ground::prepare(&region)
}

/// A process that watches libnvdimm and writes lines.
struct Watched {
    child: Child,
    pid: Pid,
    lines: BufReader<ChildStdout>,
}

impl Watched {
    /// Starts it, and returns once it is attached.
    fn start(what: Started) -> Result<Self> {
        match what {
            Started::Pfnwatch => {
                let mut watched = Self::spawn(PROGRAM, &["run", "--format", "json"])?;
                watched.until("\"event\":\"ready\"")?;
                Ok(watched)
            }
            Started::OneKprobe => Self::tracer(ONE_KPROBE, 1),
            Started::SameFunctions => Self::tracer(SAME_FUNCTIONS, SAME_PROBES),
        }
    }

    /// bpftrace says nothing when it is attached: the kernel does.
    fn tracer(script: &str, probes: usize) -> Result<Self> {
        let watched = Self::spawn(TRACER, &["-B", "line", "-e", script])?;
        wait::until("bpftrace's probes", START_LIMIT, || (probed()? >= probes).then_some(()))?;
        Ok(watched)
    }

    fn spawn(program: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a pid out of range")?);
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, pid, lines })
    }

    /// Reads on to the next line that has this in it.
    fn until(&mut self, part: &str) -> Result<()> {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            ensure!(self.lines.read_line(&mut line)? > 0, "it ended without a line with {part}");
        }
        Ok(())
    }

    /// The time from each of many refused binds to the line that tells of it, which has this in it.
    fn lines_of(&mut self, ground: &Ground, part: &str) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        for _ in 0..EVENTS {
            let began = Instant::now();
            ground.work(Work::Creation, 1)?;
            self.until(part)?;
            took.push(began.elapsed());
        }
        Ok(took)
    }

    /// By a signal that bpftrace cannot miss: it waits for ever for a SIGINT that comes before it waits at all.
    fn end(mut self) -> Result<()> {
        kill(self.pid, Signal::SIGKILL).context("cannot be ended")?;
        self.child.wait().context("cannot be waited for")?;
        wait::until("the end of its probes", START_LIMIT, || (probed()? == 0).then_some(()))
    }
}

/// How many probes stand on functions of libnvdimm.
fn probed() -> Option<usize> {
    Some(fs::read_to_string(KPROBES).ok()?.lines().filter(|line| line.contains(" libnvdimm ")).count())
}
