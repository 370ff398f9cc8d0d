//! An agent that is killed leaves nothing in the kernel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::bpf::HeldObjects;
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{MIB, regions};

const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn killed_agent_leaves_no_program_and_no_probe() -> Result<()> {
    let regions = regions::fresh()?;
    let before = HeldObjects::look()?;
    let mut agent = Agent::start(&[])?;
    let during = HeldObjects::look()?;
    // Eighteen programs (four of them by a trampoline), and something of each kind to leave behind.
    let ours = during.beyond(&before);
    assert_eq!(ours.programs.len(), 18, "{ours:?}");
    ensure!(!ours.maps.is_empty() && !ours.links.is_empty(), "{ours:?}");
    for function in ["nvdimm_setup_pfn", "nd_pfn_validate", "nvdimm_bus_probe", "nvdimm_bus_remove"] {
        ensure!(during.kprobes.iter().any(|probed| probed == function), "no probe on {function}: {during:?}");
    }
    ensure!(during.trampolines.iter().any(|traced| traced == "really_probe"), "{during:?}");

    agent.kill()?;
    HeldObjects::until_nothing_beyond(&before, TIMEOUT)?;

    // The next one finds the place as the first did.
    let mut agent = Agent::start(&[])?;
    let made = creation::create(&NamespaceSpec::new(&regions.first, Mode::Devdax, 32 * MIB))?;
    agent.set_up(&made.namespace_uuid, "made")?;
    agent.stop_and_count()?;
    HeldObjects::until_nothing_beyond(&before, TIMEOUT).context("of the second")
}
