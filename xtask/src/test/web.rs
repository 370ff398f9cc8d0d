//! The web server under real programs as a stage.

use super::stage::Done;
use super::unit::counted;
use crate::web;

pub(super) fn run() -> Done {
    let (outcome, said) = web::run();
    counted(outcome, &said)
}
