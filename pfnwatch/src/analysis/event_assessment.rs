//! Adds a verdict to each set-up event, and an explanation to each decision of the guard. Pure.

#[cfg(test)]
pub(crate) mod tests;

use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;
use pfnwatch_common::superblock::SuperblockKind;
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};

use crate::analysis::assess::assess;
use crate::analysis::memmap::{MappedNamespace, cost_of_map_mem};
use crate::model::event::{
    BlockState, Body, Event, EventAssessment, GuardDecision, SetUp, SetUpOutcome, UnjudgedReason, personality_name,
};
use crate::model::facts::{EnableRefusal, Facts, KernelParameters, NamespaceMode, Obstacle};
use crate::model::thresholds::Thresholds;
use crate::model::units::Bytes;
use crate::model::verdict::{Assessment, Cause};

/// Assesses the event if it is a set-up; explains it if it is a guard decision.
pub fn judge(event: &mut Event, host: &KernelParameters, thresholds: &Thresholds) {
    match &mut event.body {
        Body::SetUp(setup) => {
            let mut judged = judgement(assess(&facts(setup), host, thresholds));
            if setup.outcome == SetUpOutcome::Unknown {
                judged.memmap_dram_bytes = None;
            }
            setup.judgement = Some(judged);
        }
        body => explain(body, host, thresholds),
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
        memmap_dram_bytes: numbers.dram,
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

fn explain(body: &mut Body, host: &KernelParameters, thresholds: &Thresholds) {
    match body {
        Body::Denied(decision) => {
            decision.detail = format!("refused before anything was written: {}", reason(decision, thresholds));
            decision.remedies = remedies(decision, host, thresholds);
            decision.remedies.extend(exemption(decision));
        }
        Body::WouldDeny(decision) => {
            let reason = reason(decision, thresholds);
            decision.detail = format!("allowed in audit, enforce would have refused it: {reason}");
            decision.remedies = remedies(decision, host, thresholds);
        }
        Body::Exempt(decision) => {
            decision.detail = format!("oversize, and allowed by an exemption: {}", reason(decision, thresholds));
        }
        Body::Unjudged(decision) => {
            let why = decision.reason.map_or("the guard gave no reason", UnjudgedReason::describe);
            decision.detail = format!("allowed without a judgement: {why}; its set-up event will have the verdict");
            decision.remedies = what_arms_the_guard(decision.reason);
        }
        _ => {}
    }
}

fn reason(decision: &GuardDecision, thresholds: &Thresholds) -> String {
    let bytes = decision.max_struct_page_size_bytes.unwrap_or(0);
    let reference = thresholds.reference_struct_page;
    let whose = match decision.cause {
        Cause::RegressedKernel => " (the regression of Linux 6.1 to 6.1.11)",
        _ if bytes > REFERENCE_STRUCT_PAGE => " (its struct page is wide, as with memory debug options)",
        _ => "",
    };
    let empty =
        if leaves_nothing(decision) { "; nothing usable would be left, which kernels since 6.6 refuse" } else { "" };
    format!("this kernel reserves {bytes} bytes for each page instead of {reference}{whose}{empty}")
}

/// Whether the reservation and what is cut off at the end take all of it: 6.1 makes such a namespace, and can panic when it is
/// disabled.
fn leaves_nothing(decision: &GuardDecision) -> bool {
    let taken = decision.reservation_bytes.zip(decision.end_trunc_bytes);
    let size = decision.namespace.as_ref().map(|namespace| namespace.size_bytes);
    taken.zip(size).is_some_and(|((reserved, cut), size)| reserved.saturating_add(cut) >= size)
}

fn remedies(decision: &GuardDecision, host: &KernelParameters, thresholds: &Thresholds) -> Vec<String> {
    let geometry = decision.namespace.as_ref().map(|namespace| Geometry {
        start: namespace.start_address,
        size: namespace.size_bytes,
        align: decision.align_bytes,
        map: Map::Dev,
        page_size: host.page_size,
        compat: host.compat,
    });
    let by_hand = geometry.and_then(|geometry| write_infoblock(decision, &geometry, host, thresholds));
    let other = other_kernel(decision, thresholds);
    [Some(map_mem(decision, geometry, host)), Some(other), by_hand].into_iter().flatten().collect()
}

fn map_mem(decision: &GuardDecision, geometry: Option<Geometry>, host: &KernelParameters) -> String {
    let mode = match decision.personality {
        SuperblockKind::Pfn => NamespaceMode::Fsdax,
        SuperblockKind::Dax => NamespaceMode::Devdax,
    };
    let costs = geometry.and_then(|geometry| {
        let mem = Geometry { map: Map::Mem, ..geometry };
        let reserved = reservation(&mem, 0, KernelQuirks::default()).ok()?;
        Some((reserved.dataoff, cost_of_map_mem(&MappedNamespace::of(mode, &mem, &reserved), host)))
    });
    costs.map_or_else(
        || format!("--map=mem: the memmap is then in DRAM, of an unknown size{}", host.memmap_loss(false)),
        |(reserved, dram)| format!("--map=mem: {} reserved, and {dram}", Bytes(reserved)),
    )
}

fn other_kernel(decision: &GuardDecision, thresholds: &Thresholds) -> String {
    let ideal = Bytes(decision.ideal_bytes.unwrap_or(0));
    match decision.cause {
        Cause::RegressedKernel => format!(
            "a kernel without the regression (Linux 6.1.12 or later, 6.2 or later; `pfnwatch kernel FILE` checks a \
             package): {ideal} reserved"
        ),
        _ if decision.max_struct_page_size_bytes > Some(REFERENCE_STRUCT_PAGE) => {
            format!("a kernel without memory debug options: {ideal} reserved")
        }
        _ => format!("a kernel with a struct page of {} bytes: {ideal} reserved", thresholds.reference_struct_page),
    }
}

/// ndctl computes with its own 64 and from address 0, so that the start has to be a multiple of the align; and the kernel
/// refuses a block that reserves less than its own struct page.
fn write_infoblock(
    decision: &GuardDecision,
    geometry: &Geometry,
    host: &KernelParameters,
    thresholds: &Thresholds,
) -> Option<String> {
    const NDCTL: u64 = 64;
    let align = geometry.align.max(geometry.compat);
    let aligned = align.is_power_of_two() && geometry.start & (align - 1) == 0;
    if !aligned || host.struct_page? > NDCTL || thresholds.reference_struct_page < NDCTL {
        return None;
    }
    let reserved = reservation(geometry, NDCTL, KernelQuirks::default()).ok()?.dataoff;
    Some(format!(
        "under this kernel, with an info block that ndctl writes ({} reserved; a debug facility of ndctl): make it with \
         --mode=raw, then `ndctl disable-namespace NAME`, `ndctl write-infoblock --mode={} --map=dev --align={} NAME`, \
         `ndctl enable-namespace NAME`",
        Bytes(reserved),
        personality_name(decision.personality),
        geometry.align,
    ))
}

/// By region: ndctl assigns another namespace uuid each time it makes or reconfigures a namespace.
fn exemption(decision: &GuardDecision) -> Option<String> {
    let region = decision.region.as_ref()?;
    Some(format!(
        "an exemption for one creation: `pfnwatch allow --region {region} --once --for 10m --reason TEXT`, then try again"
    ))
}

fn what_arms_the_guard(why: Option<UnjudgedReason>) -> Vec<String> {
    match why {
        Some(UnjudgedReason::NoMaxStructPage) => {
            vec!["`sudo pfnwatch kernel --running` lists the evidence, and what is missing".to_owned()]
        }
        Some(UnjudgedReason::NotArmed | UnjudgedReason::ModuleChanged) => {
            vec!["`pfnwatch status` shows when the guard judges again".to_owned()]
        }
        _ => Vec::new(),
    }
}
