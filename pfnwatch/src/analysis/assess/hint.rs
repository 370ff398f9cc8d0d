//! What else could be gained of a namespace whose reservation is as it should be: the waste classes B to F.

use crate::model::verdict::Hint;
use pfnwatch_common::reservation::HEAD;
use pfnwatch_common::{Geometry, Map};

use super::measure::Measured;
use super::reserved_with;
use crate::analysis::memmap::{MappedNamespace, dram_bytes, is_deduplicated};
use crate::model::facts::{Facts, KernelParameters, NamespaceMode};
use crate::model::thresholds::Thresholds;
use crate::model::units::Bytes;
use crate::model::verdict::Cause;

/// All that apply, the most important first.
pub(super) fn of(facts: &Facts, host: &KernelParameters, thresholds: &Thresholds, measured: &Measured) -> Vec<Hint> {
    [
        system_ram(facts, measured),
        smaller_pages(host, thresholds, measured),
        no_deduplication(facts, host, measured),
        smaller_struct_page(facts, host, thresholds, measured),
        rounding(thresholds, measured),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// C: kmem makes its memmap in DRAM and never uses the altmap.
fn system_ram(facts: &Facts, measured: &Measured) -> Option<Hint> {
    if facts.mode != NamespaceMode::Devdax || !facts.system_ram || measured.geometry.map != Map::Dev {
        return None;
    }
    let bytes = gained_by_map_mem(measured)?;
    // What a kernel loses of a memmap in DRAM does not depend on this advice.
    let detail = format!(
        "in use as system RAM, which does not use the reservation: map=mem returns {}, and takes no more DRAM (the \
         memmap is in DRAM with either map)",
        Bytes(bytes)
    );
    Some(Hint::new(Cause::SystemRam, bytes, detail))
}

/// B: only struct pages are counted; page tables are not.
fn no_deduplication(facts: &Facts, host: &KernelParameters, measured: &Measured) -> Option<Hint> {
    if facts.mode != NamespaceMode::Devdax || facts.system_ram || measured.geometry.map != Map::Dev {
        return None;
    }
    let mapped = MappedNamespace { map: Some(Map::Mem), ..measured.mapped(facts, host)? };
    is_deduplicated(mapped.mode, mapped.align, host).filter(|deduplicated| *deduplicated)?;
    let dram = dram_bytes(&mapped, host)?;
    let bytes = gained_by_map_mem(measured)?;
    let detail = format!(
        "map=mem would take {} of DRAM instead of {} here: this kernel deduplicates the memmap's tail pages \
         (struct pages only, page tables are not counted)",
        Bytes(dram),
        Bytes(bytes)
    );
    Some(Hint::new(Cause::NoDeduplication, bytes, detail))
}

/// D: what the align alone costs, at the start and at the end.
fn rounding(thresholds: &Thresholds, measured: &Measured) -> Option<Hint> {
    let Geometry { size, map, page_size, align, .. } = measured.geometry;
    let memmap = match map {
        Map::Dev => size.checked_sub(HEAD)?.checked_div(page_size)?.checked_mul(thresholds.reference_struct_page)?,
        Map::Mem => 0,
    };
    let needed = memmap.checked_add(HEAD)?;
    let end = measured.end_trunc.saturating_sub(measured.cut_at_end());
    let bytes = measured.ideal.min(measured.reservation).saturating_sub(needed).checked_add(end)?;
    // The same share of the namespace as for a finding, whatever the align: below it rounding is not worth a word.
    if !thresholds.passed_by(bytes, 0, size) {
        return None;
    }
    let detail = format!("rounding to the align ({}) takes {}", Bytes(align), Bytes(bytes));
    Some(Hint::new(Cause::Rounding, bytes, detail))
}

/// E: with the running kernel's larger pages fewer struct pages are needed.
fn smaller_pages(host: &KernelParameters, thresholds: &Thresholds, measured: &Measured) -> Option<Hint> {
    let geometry = &measured.geometry;
    if geometry.map != Map::Dev || geometry.page_size >= host.page_size {
        return None;
    }
    let own = Geometry { page_size: host.page_size, ..*geometry };
    let rebuilt = reserved_with(&own, thresholds.reference_struct_page).ok()?;
    let bytes = measured.reservation.checked_sub(rebuilt).filter(|bytes| *bytes > 0)?;
    let detail = format!(
        "its block is for pages of {}: with this kernel's {} a rebuild returns {}",
        Bytes(geometry.page_size),
        Bytes(host.page_size),
        Bytes(bytes)
    );
    Some(Hint::new(Cause::SmallerPages, bytes, detail))
}

/// F: a kernel whose struct page is smaller than the reference.
fn smaller_struct_page(
    facts: &Facts,
    host: &KernelParameters,
    thresholds: &Thresholds,
    measured: &Measured,
) -> Option<Hint> {
    let struct_page = host.struct_page.filter(|bytes| *bytes < thresholds.reference_struct_page)?;
    if measured.geometry.map != Map::Dev {
        return None;
    }
    let bytes = measured.numbers(facts, host).unused?.checked_sub(measured.excess()).filter(|bytes| *bytes > 0)?;
    let detail =
        format!("this kernel's struct page has {struct_page} bytes: {} of the reservation are unused", Bytes(bytes));
    Some(Hint::new(Cause::SmallerStructPage, bytes, detail))
}

fn gained_by_map_mem(measured: &Measured) -> Option<u64> {
    let mem = Geometry { map: Map::Mem, ..measured.geometry };
    let reservation = reserved_with(&mem, 0).ok()?;
    measured.reservation.checked_sub(reservation).filter(|bytes| *bytes > 0)
}
