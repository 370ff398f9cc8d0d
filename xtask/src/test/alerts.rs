//! Alerts against a real Alertmanager.

use super::stage::Done;
use super::unit::counted;
use crate::alertmanager;

/// Runs them all, also after a failure.
pub(super) fn run() -> Done {
    let (outcome, said) = alertmanager::run();
    counted(outcome, &said)
}
