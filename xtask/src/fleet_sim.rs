//! `cargo xtask fleet-sim`: a made-up fleet under a real Prometheus and a real Alertmanager.

use std::time::Duration;

use anyhow::Result;

use crate::{alertmanager, paths, toolchain, web};

const LIMIT: Duration = Duration::from_secs(900);

/// How large a fleet.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many hosts
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(25..=20_000))]
    hosts: u32,
    /// Whether `pfnwatch fleet` is timed as it is given away: its build takes minutes.
    #[arg(skip = true)]
    released: bool,
}

impl Args {
    /// So many, with the agent as the tests are built.
    pub(crate) const fn of(hosts: u32) -> Self {
        Self { hosts, released: false }
    }
}

/// Fetches what is missing, and runs the simulation. Returns what it said.
pub(crate) fn run(args: &Args) -> (Result<()>, String) {
    let tools = web::prometheus().and_then(|prometheus| Ok((prometheus, alertmanager::provide()?)));
    match tools {
        Ok((prometheus, alertmanager)) => {
            let arguments = ["--test", "fleet", "--", "--ignored", "--nocapture"];
            let task = toolchain::workspace_task("test", &arguments).env("PFNWATCH_PROMETHEUS", prometheus);
            let task = task.env("PFNWATCH_ALERTMANAGER", alertmanager);
            let task = task.env("PFNWATCH_FLEET_HOSTS", args.hosts.to_string());
            let released = paths::target().join("release/pfnwatch");
            let task = if args.released { task.env("PFNWATCH_RELEASED", released) } else { task };
            task.limit(LIMIT).tee()
        }
        Err(error) => (Err(error), String::new()),
    }
}
