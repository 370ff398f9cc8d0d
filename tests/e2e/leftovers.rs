//! An agent that is killed leaves nothing in the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::bpf::{self, Kind};
use guest::creation::{self, Map, Mode, Wanted};
use guest::{regions, wait};

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(20);

/// Everything by which an eBPF program could stay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) programs: Vec<u32>,
    pub(crate) maps: Vec<u32>,
    pub(crate) links: Vec<u32>,
    /// Names of the functions with a probe on them.
    pub(crate) kprobes: Vec<String>,
    /// Functions with a trampoline or a tracer on them.
    pub(crate) trampolines: String,
}

impl Kernel {
    pub(crate) fn look() -> Result<Self> {
        let read = |file: &str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
        let probes = read("/sys/kernel/debug/kprobes/list")?;
        // `ffffffffc0… k nvdimm_bus_probe+0x0 [libnvdimm] [FTRACE]`
        let function = |line: &str| Some(line.split_whitespace().nth(2)?.split('+').next()?.to_owned());
        let mut kprobes: Vec<String> = probes.lines().filter_map(function).collect();
        kprobes.sort();
        Ok(Self {
            programs: bpf::ids(Kind::Programs)?,
            maps: bpf::ids(Kind::Maps)?,
            links: bpf::ids(Kind::Links)?,
            kprobes,
            trampolines: read("/sys/kernel/tracing/enabled_functions")?,
        })
    }
}

#[test]
fn killed_agent_leaves_no_program_and_no_probe() -> Result<()> {
    let regions = regions::fresh()?;
    let before = Kernel::look()?;
    let mut agent = Agent::start(&[])?;
    let during = Kernel::look()?;
    // Sixteen programs (four of them by a trampoline), and something of each kind to leave behind.
    assert_eq!(during.programs.len(), before.programs.len() + 16, "{during:?}");
    ensure!(during.maps.len() > before.maps.len() && during.links.len() > before.links.len(), "{during:?}");
    for function in ["nvdimm_setup_pfn", "nd_pfn_validate", "nvdimm_bus_probe", "nvdimm_bus_remove"] {
        ensure!(during.kprobes.iter().any(|probed| probed == function), "no probe on {function}: {during:?}");
    }
    ensure!(during.trampolines.contains("really_probe"), "{during:?}");

    agent.kill()?;
    // The kernel frees what is no longer held once no CPU can be inside of it.
    let gone = wait::until("nothing of the agent left", LIMIT, || Kernel::look().ok().filter(|now| *now == before));
    gone.with_context(|| format!("before: {before:?}\nnow: {:?}", Kernel::look()))?;

    // The next one finds the place as the first did.
    let mut agent = Agent::start(&[])?;
    let made = creation::create(&Wanted {
        region: regions.first,
        size_bytes: 32 * MIB,
        mode: Mode::Devdax,
        map: Map::Dev,
        align_bytes: 2 * MIB,
    })?;
    agent.set_up(&made.namespace_uuid, "made")?;
    agent.tally()?;
    wait::until("nothing of the second left", LIMIT, || Kernel::look().ok().filter(|now| *now == before)).map(drop)
}
