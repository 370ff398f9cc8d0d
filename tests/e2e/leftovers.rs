//! An agent that is killed leaves nothing in the kernel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::bpf::held::Held;
use guest::creation::{self, Map, Mode, Wanted};
use guest::{regions, wait};

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn killed_agent_leaves_no_program_and_no_probe() -> Result<()> {
    let regions = regions::fresh()?;
    let before = Held::look()?;
    let mut agent = Agent::start(&[])?;
    let during = Held::look()?;
    // Sixteen programs (four of them by a trampoline), and something of each kind to leave behind.
    assert_eq!(during.programs.len(), before.programs.len() + 16, "{during:?}");
    ensure!(during.maps.len() > before.maps.len() && during.links.len() > before.links.len(), "{during:?}");
    for function in ["nvdimm_setup_pfn", "nd_pfn_validate", "nvdimm_bus_probe", "nvdimm_bus_remove"] {
        ensure!(during.kprobes.iter().any(|probed| probed == function), "no probe on {function}: {during:?}");
    }
    ensure!(during.trampolines.contains("really_probe"), "{during:?}");

    agent.kill()?;
    // The kernel frees what is no longer held once no CPU can be inside of it.
    let gone = wait::until("nothing of the agent left", LIMIT, || Held::look().ok().filter(|now| *now == before));
    gone.with_context(|| format!("before: {before:?}\nnow: {:?}", Held::look()))?;

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
    wait::until("nothing of the second left", LIMIT, || Held::look().ok().filter(|now| *now == before)).map(drop)
}
