//! The guard's judgements in words: what was done, why, and what could be done instead.

use pfnwatch_common::{
    Geometry, KernelQuirks, Map, reservation, reservation::REFERENCE_STRUCT_PAGE, superblock::SuperblockKind,
};

use crate::{
    analysis::assess::{deduplicated_memmap, memmap_in_dram},
    model::{
        event::{Body, GuardDecision, UnjudgedReason, personality_name},
        facts::KernelParameters,
        thresholds::Thresholds,
        units::Bytes,
        verdict::Cause,
    },
};

pub(super) fn explain(body: &mut Body, host: &KernelParameters, thresholds: &Thresholds) {
    match body {
        Body::Denied(judged) => {
            judged.detail = format!("refused before anything was written: {}", reason(judged, thresholds));
            judged.remedies = remedies(judged, host, thresholds);
            judged.remedies.extend(exemption(judged));
        }
        Body::WouldDeny(judged) => {
            let reason = reason(judged, thresholds);
            judged.detail = format!("allowed in audit, enforce would have refused it: {reason}");
            judged.remedies = remedies(judged, host, thresholds);
        }
        Body::Exempt(judged) => {
            judged.detail = format!("oversize, and allowed by an exemption: {}", reason(judged, thresholds));
        }
        Body::Unjudged(judged) => {
            let why = judged.reason.map_or("the guard gave no reason", UnjudgedReason::describe);
            judged.detail = format!("allowed without a judgement: {why}; what it costs shows once it is made");
            judged.remedies = what_arms_the_guard(judged.reason);
        }
        _ => {}
    }
}

fn reason(judged: &GuardDecision, thresholds: &Thresholds) -> String {
    let bytes = judged.max_struct_page_size_bytes.unwrap_or(0);
    let reference = thresholds.reference_struct_page;
    let whose = match judged.cause {
        Cause::RegressedKernel => " (the regression of Linux 6.1 to 6.1.11)",
        _ if bytes > REFERENCE_STRUCT_PAGE => " (its struct page is wide, as with memory debug options)",
        _ => "",
    };
    let excess = Bytes(judged.excess_bytes.unwrap_or(0));
    format!("this kernel reserves {bytes} bytes for each page, where {reference} suffice{whose}: {excess} too much")
}

fn remedies(judged: &GuardDecision, host: &KernelParameters, thresholds: &Thresholds) -> Vec<String> {
    let geometry = judged.namespace.as_ref().map(|namespace| Geometry {
        start: namespace.start_address,
        size: namespace.size_bytes,
        align: judged.align_bytes,
        map: Map::Dev,
        page_size: host.page_size,
        compat: host.compat,
    });
    let by_hand = geometry.and_then(|geometry| write_infoblock(judged, &geometry, host, thresholds));
    let other = other_kernel(judged, thresholds);
    [Some(map_mem(judged, geometry, host)), Some(other), by_hand].into_iter().flatten().collect()
}

fn map_mem(judged: &GuardDecision, geometry: Option<Geometry>, host: &KernelParameters) -> String {
    let can = judged.personality == SuperblockKind::Dax && host.deduplicates == Some(true);
    let costs = geometry.and_then(|geometry| {
        let mem = Geometry { map: Map::Mem, ..geometry };
        let reserved = reservation(&mem, 0, KernelQuirks::default()).ok()?.dataoff;
        let deduplicated = deduplicated_memmap(mem.size, mem.align, host).filter(|_| can);
        let dram = deduplicated.or_else(|| memmap_in_dram(mem.size, host))?;
        Some((reserved, dram, host.memmap_loss(deduplicated.is_some())))
    });
    costs.map_or_else(
        || format!("--map=mem: the memmap then lives in DRAM{}", host.memmap_loss(false)),
        |(reserved, dram, loss)| {
            format!("--map=mem: {} reserved, and {} of DRAM for the memmap{loss}", Bytes(reserved), Bytes(dram))
        },
    )
}

fn other_kernel(judged: &GuardDecision, thresholds: &Thresholds) -> String {
    let ideal = Bytes(judged.ideal_bytes.unwrap_or(0));
    match judged.cause {
        Cause::RegressedKernel => format!(
            "a kernel without the regression (Linux 6.1.12 or later, 6.2 or later; `pfnwatch kernel FILE` tells of a \
             package): {ideal} reserved"
        ),
        _ if judged.max_struct_page_size_bytes > Some(REFERENCE_STRUCT_PAGE) => {
            format!("a kernel without memory debug options: {ideal} reserved")
        }
        _ => format!("a kernel with a struct page of {} bytes: {ideal} reserved", thresholds.reference_struct_page),
    }
}

/// ndctl computes with its own 64 and from address 0, so that the start has to be a multiple of the align; and the kernel
/// refuses a block that reserves less than its own struct page.
fn write_infoblock(
    judged: &GuardDecision,
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
        personality_name(judged.personality),
        geometry.align,
    ))
}

/// By region: ndctl assigns another namespace uuid each time it makes or reconfigures a namespace.
fn exemption(judged: &GuardDecision) -> Option<String> {
    let region = judged.region.as_ref()?;
    Some(format!(
        "an exemption for one creation: `pfnwatch allow --region {region} --once --for 10m --reason TEXT`, then try again"
    ))
}

fn what_arms_the_guard(why: Option<UnjudgedReason>) -> Vec<String> {
    match why {
        Some(UnjudgedReason::NoMaxStructPage) => {
            vec!["`sudo pfnwatch kernel --running` says what was asked, and what it lacks".to_owned()]
        }
        Some(UnjudgedReason::NotArmed | UnjudgedReason::ModuleChanged) => {
            vec!["`pfnwatch status` says when the guard judges again".to_owned()]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
