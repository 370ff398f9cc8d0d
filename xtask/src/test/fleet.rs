//! A small made-up fleet under a real Prometheus and Alertmanager as a stage.

use super::stage::Done;
use super::unit::counted;
use crate::fleet_sim::{self, Args};

/// Enough for several releases of several hosts.
const HOSTS: u32 = 150;

pub(super) fn run() -> Done {
    let (outcome, said) = fleet_sim::run(&Args::of(HOSTS));
    counted(outcome, &said)
}
