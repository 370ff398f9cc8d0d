//! The guard: its mode, whether it works, and what it did.

use pfnwatch_common::counter::Counter;

use super::encode::Family;
use crate::model::{policy::Mode, view::View};

const OUTCOMES: [Counter; 4] = [Counter::Denied, Counter::WouldDeny, Counter::Exempt, Counter::Unjudged];

pub(super) fn families(view: &View) -> Vec<Family> {
    let status = &view.status;
    let modes = [("audit", Mode::Audit), ("enforce", Mode::Enforce)];
    let modes = modes.map(|(name, mode)| (name.to_owned(), status.mode.mode == mode));
    let count = |counter: Counter| status.counters.get(counter.name()).copied();
    let outcomes = OUTCOMES.into_iter().filter_map(|it| Some((it.name().to_owned(), count(it)?)));
    vec![
        Family::gauge("pfnwatch_guard_mode", "1 for the guard's mode, 0 for the other.").each("mode", modes),
        Family::gauge(
            "pfnwatch_guard_mode_overridden",
            "1 while a person has set another mode than the configuration's.",
        )
        .value(status.mode.overridden().is_some()),
        Family::gauge(
            "pfnwatch_guard_armed",
            "1 while the guard knows the blocks that there are, and what the kernel reserves for each page.",
        )
        .value(status.guard.armed),
        Family::gauge("pfnwatch_guard_judges", "1 while the guard is armed, and its program was seen to run.")
            .value(status.guard.judges),
        Family::gauge("pfnwatch_enforcement_effective", "1 while an oversize creation would be refused.")
            .value(status.enforcement_effective),
        Family::counter("pfnwatch_guard_judged", "Creations that the guard judged, since its programs were loaded.")
            .optional_value(count(Counter::Judged)),
        Family::counter(
            "pfnwatch_guard_outcomes",
            "Creations that were denied, would have been, were exempt, or could not be judged, since the programs were loaded.",
        )
        .each("outcome", outcomes),
        Family::gauge("pfnwatch_guard_exemptions", "Exemptions in force.").value(status.exemptions.len()),
        Family::gauge("pfnwatch_guard_exemptions_skipped", "Exemptions of the configuration that are not in force.")
            .value(status.skipped_exemptions.len()),
    ]
}
