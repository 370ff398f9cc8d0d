//! `cargo xtask deny`: licences, bans and sources of every dependency, as deny.toml has them; known vulnerabilities where
//! their list can be had.

use std::time::Duration;

use anyhow::Result;

use crate::process::Task;
use crate::{paths, setup};

const LIMIT: Duration = Duration::from_secs(180);
/// The list is a repository of some MiB.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Result<()> {
    check(&["licenses", "bans", "sources"])?;
    // Who gave this away keeps the list on GitHub, which not every network lets one reach.
    match cargo_deny(&["fetch", "db"])?.limit(FETCH_LIMIT).read() {
        Ok(_) => check(&["--disable-fetch", "advisories"]),
        Err(_) => {
            eprintln!("known vulnerabilities were NOT looked for: their list, RustSec's, cannot be fetched here");
            Ok(())
        }
    }
}

fn check(arguments: &[&str]) -> Result<()> {
    // Where a crate comes in is one line in `cargo tree --invert`, and hundreds here.
    let all: Vec<_> = ["check", "--hide-inclusion-graph"].into_iter().chain(arguments.iter().copied()).collect();
    cargo_deny(&all)?.limit(LIMIT).show()
}

fn cargo_deny(arguments: &[&str]) -> Result<Task> {
    Ok(Task::new(setup::cargo_deny()?, arguments).dir(&paths::root()))
}
