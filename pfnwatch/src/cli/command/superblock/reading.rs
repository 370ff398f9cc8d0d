//! What the formula makes of a block: one reading for each page size and `memremap_compat_align()` that the block may come from.

use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;
use pfnwatch_common::{Geometry, InfoBlock, Map};

use crate::analysis::assess::reserved_with;
use crate::model::kernel::COMPAT_ALIGN;
use crate::model::units::Bytes;

/// The unit of `npfns` in blocks that name no page size: those kernels counted in 4 KiB whatever their pages.
const UNIT: u64 = 4096;
const PAGES_OF_64K: u64 = 65536;
/// `memremap_compat_align()` of POWER with the hash MMU, whose pages have 64 KiB.
const HASH_COMPAT: u64 = 16 << 20;

/// The numbers in bytes if the block was made by a kernel with these pages and this `memremap_compat_align()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) geometry: Geometry,
    pub(super) ideal: u64,
    pub(super) excess: u64,
}

/// All readings, the most usual first. `namespace_bytes` is the namespace's size, if it is known.
pub(super) fn readings(block: &InfoBlock, namespace_bytes: Option<u64>) -> Vec<Reading> {
    let named = block.page_size.map(u64::from).filter(|size| *size > 0);
    let pages = match (named, block.map()) {
        (Some(size), _) => vec![size],
        (None, Some(Map::Dev)) => vec![UNIT, PAGES_OF_64K],
        // Without a memmap on the media no page is counted.
        (None, _) => vec![UNIT],
    };
    let compats =
        |page_size| if page_size == PAGES_OF_64K { vec![COMPAT_ALIGN, HASH_COMPAT] } else { vec![COMPAT_ALIGN] };
    let all =
        pages.into_iter().flat_map(|page_size| compats(page_size).into_iter().map(move |compat| (page_size, compat)));
    let all = all.filter_map(|(page_size, compat)| reading(block, namespace_bytes, page_size, compat));
    let mut readings: Vec<_> = all.collect();
    readings.dedup_by_key(|reading| (reading.geometry.page_size, reading.ideal));
    readings
}

fn reading(block: &InfoBlock, namespace_bytes: Option<u64>, page_size: u64, compat: u64) -> Option<Reading> {
    let reservation = block.reservation()?;
    let described = block.geometry_when_made(UNIT, compat);
    let geometry = match (described, block.map()?) {
        (Some(geometry), _) => Geometry { page_size, ..geometry },
        // What is reserved with map=mem does not depend on the size, if that is larger.
        (None, Map::Mem) => Geometry {
            start: 0,
            size: namespace_bytes.or_else(|| reservation.checked_mul(2))?,
            align: block.align,
            map: Map::Mem,
            page_size,
            compat,
        },
        (None, Map::Dev) => {
            Geometry { start: 0, size: namespace_bytes?, align: block.align, map: Map::Dev, page_size, compat }
        }
    };
    let ideal = reserved_with(&geometry, REFERENCE_STRUCT_PAGE).ok()?;
    Some(Reading { geometry, ideal, excess: reservation.saturating_sub(ideal) })
}

/// The number that all readings agree on; `None` if they do not, or if there is none.
pub(super) fn agreed(readings: &[Reading], number: impl Fn(&Reading) -> u64) -> Option<u64> {
    let first = number(readings.first()?);
    readings.iter().all(|reading| number(reading) == first).then_some(first)
}

/// The readings in words, if they differ in excess.
pub(super) fn differing(readings: &[Reading]) -> Vec<String> {
    if agreed(readings, |reading| reading.excess).is_some() {
        return Vec::new();
    }
    let describe = |reading: &Reading| {
        let Geometry { page_size, compat, .. } = reading.geometry;
        let machine = if compat == HASH_COMPAT { " (POWER, hash MMU)" } else { "" };
        format!(
            "with pages of {}{machine}: ideal {} ({}), excess {} ({})",
            Bytes(page_size),
            reading.ideal,
            Bytes(reading.ideal),
            reading.excess,
            Bytes(reading.excess)
        )
    };
    readings.iter().map(describe).collect()
}
