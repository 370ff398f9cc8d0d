//! `cargo xtask test`: every stage with its limit, a table of them, and one closing line.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{build_ebpf, check, dist, setup, vm};

mod alerts;
mod fleet;
mod fuzzing;
mod stage;
mod table;
mod unit;
mod vms;
mod web;

use stage::{Counts, Stage};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the virtual machines and the fuzz targets: a few minutes instead of most of an hour
    #[arg(long)]
    quick: bool,
}

const SETUP: &str = "set-up";
const OBJECT: &str = "eBPF programs";
const AGENT: &str = "agent, and guests' files";
const PACKAGE: &str = "Debian package";

/// What all stages together may take, from nothing on 2 processors.
const TOTAL: Duration = Duration::from_secs(45 * 60);

/// Runs the stages one after the other, and tells what became of each.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let rows = stage::run_all(stages(args.quick), TOTAL);
    print!("\n{}", table::render(&rows, [start.elapsed(), TOTAL]));
    let total = rows.iter().fold(Counts::default(), |total, row| total + row.counts);
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.passed > 0 && total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stages in their order. Their limits leave room for a busy host; none gets more than is left of the total.
fn stages(quick: bool) -> Vec<Stage> {
    let needed = if quick { setup::for_build } else { setup::for_test };
    let mut stages = vec![Stage::check(SETUP, 900, needed), Stage::check(OBJECT, 300, build_ebpf::run).after(&[SETUP])];
    if !quick {
        // The last steps of the agent's build keep one processor busy, and kernels come over the network.
        let agent = || setup::both(vm::prepare, || build_ebpf::agent(true));
        stages.push(Stage::check(AGENT, 600, agent).after(&[SETUP, OBJECT]).beside());
    }
    // Clippy and the unit tests compile the agent, which embeds the object.
    let embeds = |check: &check::Check| if check.needs_object { [OBJECT].as_slice() } else { &[] };
    stages
        .extend(check::ALL.iter().map(|check| Stage::check(check.name, check.limit_s, check.run).after(embeds(check))));
    stages.push(Stage::counted("unit tests", 600, unit::run).after(&[OBJECT]));
    if !quick {
        stages.push(Stage::counted("fuzzing", 600, fuzzing::run).after(&[SETUP, OBJECT]));
        stages.push(Stage::counted("web page and metrics", 300, web::run).after(&[SETUP, OBJECT]));
        stages.push(Stage::counted("alerts, Alertmanager", 120, alerts::run).after(&[SETUP, OBJECT]));
        stages.push(Stage::counted("fleet, simulated", 240, fleet::run).after(&[SETUP, OBJECT]));
        stages.push(Stage::check(PACKAGE, 240, || dist::run().map(drop)).after(&[SETUP, AGENT]));
        stages.push(vms::stage().after(&[SETUP, AGENT]));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_leaves_out_the_machines() {
        let names = |quick| stages(quick).into_iter().map(|stage| stage.name).collect::<Vec<_>>();
        assert!(names(false).iter().any(|name| name.starts_with("VM")));
        assert!(!names(true).iter().any(|name| name.starts_with("VM")));
    }

    #[test]
    fn what_a_stage_waits_for_comes_before_it() {
        let stages = stages(false);
        for (index, stage) in stages.iter().enumerate() {
            for needed in stage.needs {
                assert!(stages[..index].iter().any(|earlier| earlier.name == *needed), "{} needs {needed}", stage.name);
            }
        }
    }
}
