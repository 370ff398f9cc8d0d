//! Adds a verdict to each set-up event, and an explanation to each decision of the guard. Pure.

mod guard_explanation;

#[cfg(test)]
pub(crate) mod tests;

use pfnwatch_common::superblock::SuperblockKind;

use crate::analysis::assess::assess;
use crate::model::event::{BlockState, Body, Event, EventAssessment, SetUp, SetUpOutcome};
use crate::model::facts::{EnableRefusal, Facts, KernelParameters, NamespaceMode, Obstacle};
use crate::model::thresholds::Thresholds;
use crate::model::verdict::Assessment;

/// Assesses the event if it is a set-up; explains it if it is a guard decision.
pub fn judge(event: &mut Event, host: &KernelParameters, thresholds: &Thresholds) {
    match &mut event.body {
        Body::SetUp(setup) => setup.judgement = Some(judgement(assess(&facts(setup), host, thresholds))),
        body => guard_explanation::explain(body, host, thresholds),
    }
}

pub(crate) fn judgement(assessment: Assessment) -> EventAssessment {
    let Assessment { verdict, cause, detail, evidence, numbers, hints: _ } = assessment;
    EventAssessment {
        verdict,
        cause,
        class: cause.class(),
        ideal_bytes: numbers.ideal,
        excess_bytes: numbers.excess,
        unused_bytes: numbers.unused,
        evidence,
        detail,
    }
}

fn facts(setup: &SetUp) -> Facts {
    let mode = match setup.personality {
        SuperblockKind::Pfn => NamespaceMode::Fsdax,
        SuperblockKind::Dax => NamespaceMode::Devdax,
    };
    let namespace = setup.namespace.as_ref();
    let start = namespace.map(|namespace| namespace.start_address);
    let refused = setup.setup_code.filter(|code| *code < 0).map(|code| EnableRefusal::Errno(code.saturating_neg()));
    // A set-up that was not refused has a block, which is only missing here where it could not be read.
    let unseen = || Obstacle::Unreadable("the info block could not be read from the kernel's memory".to_owned());
    Facts {
        map: setup.map,
        start,
        size: namespace.map(|namespace| namespace.size_bytes),
        align: Some(setup.align_bytes),
        first_usable: start.zip(setup.sizes).and_then(|(start, sizes)| start.checked_add(sizes.reservation_bytes)),
        usable: setup.sizes.map(|sizes| sizes.usable_bytes),
        block: setup.info_block,
        observed: setup.block == BlockState::Made,
        enabled: setup.outcome == SetUpOutcome::Enabled,
        obstacle: (refused.is_none() && setup.info_block.is_none()).then(unseen),
        refusal: refused,
        ..Facts::new(mode)
    }
}
