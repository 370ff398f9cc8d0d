//! One table-like test for each rule, with the traps of the kernel facts.

mod classes;
mod reports;

use crate::model::facts::{EnableRefusal, Obstacle};
use crate::model::verdict::NamespaceTotals;
use pfnwatch_common::superblock::SuperblockKind;
use pfnwatch_common::{Geometry, InfoBlock, KernelQuirks, Map, reservation};

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const START: u64 = 4 * GIB;

fn host() -> KernelParameters {
    KernelParameters { allows_empty: None, ..KernelParameters::SAMPLE }
}

fn geometry(size: u64, align: u64, map: Map) -> Geometry {
    Geometry { start: START, size, align, map, page_size: 4096, compat: 2 * MIB }
}

/// The block that a kernel reserving `n` bytes for each page writes.
fn block(geometry: &Geometry, n: u16) -> InfoBlock {
    let made = reservation(geometry, n.into(), KernelQuirks::default()).unwrap();
    InfoBlock {
        npfns: made.npfns,
        mode: geometry.map as u32,
        end_trunc: u32::try_from(made.end_trunc).unwrap(),
        align: geometry.align,
        page_size: Some(u32::try_from(geometry.page_size).unwrap()),
        ..InfoBlock::sample(made.dataoff, n)
    }
}

/// As root sees it in sysfs, without the block.
fn sysfs(geometry: &Geometry, n: u64) -> Facts {
    let made = reservation(geometry, n, KernelQuirks::default()).unwrap();
    Facts {
        map: Some(geometry.map),
        start: Some(geometry.start),
        size: Some(geometry.size),
        align: Some(geometry.align),
        first_usable: Some(geometry.start + made.dataoff),
        usable: Some(made.usable),
        enabled: true,
        ..Facts::new(NamespaceMode::Fsdax)
    }
}

fn with_block(geometry: &Geometry, block: InfoBlock) -> Facts {
    Facts {
        start: Some(geometry.start),
        size: Some(geometry.size),
        block: Some(block),
        ..Facts::new(NamespaceMode::Fsdax)
    }
}

fn assessed(facts: &Facts) -> Assessment {
    assess(facts, &host(), &Thresholds::default())
}

fn no_root(facts: Facts) -> Facts {
    Facts { start: None, first_usable: None, ..facts }
}

/// One align more is within the threshold; the cause is named all the same, and the sum of many is judged.
#[test]
fn small_excesses_add_up_on_the_host() {
    let geometry = geometry(64 * MIB, 2 * MIB, Map::Dev);
    let got = assessed(&with_block(&geometry, block(&geometry, 128)));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::RegressedKernel, Some(2 * MIB)));
    let mut totals = NamespaceTotals::default();
    (0..100).for_each(|_| totals.add(&got));
    // A large raw namespace does not hide them.
    totals.add(&assessed(&Facts { size: Some(1 << 50), ..Facts::new(NamespaceMode::Raw) }));
    assert_eq!((totals.oversize, totals.excess_bytes), (0, 200 * MIB));
    assert_eq!(totals.verdict(&Thresholds::default()), Verdict::Oversize);
    assert_eq!(NamespaceTotals::default().verdict(&Thresholds::default()), Verdict::Ok);
}

#[test]
fn blocks_that_this_kernel_would_not_enable() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = with_block(&geometry, block(&geometry, 64));
    let kmsan = KernelParameters { struct_page: Some(80), ..host() };
    let refused = |facts: &Facts, host: &KernelParameters| assess(facts, host, &Thresholds::default());
    let got = refused(&facts, &kmsan);
    assert!(got.verdict == Verdict::Refused && got.detail.contains("needs 80"), "{got:?}");
    let mem = Geometry { map: Map::Mem, ..geometry };
    assert_eq!(refused(&with_block(&mem, block(&mem, 64)), &kmsan).verdict, Verdict::Ok);
    let arm = Geometry { page_size: 65536, ..geometry };
    let got = refused(&with_block(&arm, block(&arm, 64)), &host());
    assert!(got.verdict == Verdict::Refused && got.detail.contains("64 KiB"), "{got:?}");
}

#[test]
fn nothing_is_reserved_without_a_block() {
    for mode in [NamespaceMode::Raw, NamespaceMode::Sector, NamespaceMode::Whole] {
        let got = assessed(&Facts { size: Some(GIB), ..Facts::new(mode) });
        assert_eq!((got.verdict, got.cause, got.numbers.reservation), (Verdict::Ok, Cause::None, Some(0)));
    }
}

#[test]
fn what_is_not_known_is_unknown_with_its_reason() {
    let whole = sysfs(&geometry(16 * GIB, GIB, Map::Dev), 64);
    let unreadable = |text: &str| Some(Obstacle::Unreadable(text.to_owned()));
    for (facts, reason) in [
        (Facts { obstacle: Some(Obstacle::Locked), ..whole.clone() }, "ndctl load-keys"),
        (Facts { obstacle: Some(Obstacle::Disabled { label: None }), ..whole.clone() }, "disabled"),
        (Facts { obstacle: unreadable("size: empty"), ..whole.clone() }, "size: empty"),
        (Facts { size: None, ..whole.clone() }, "its size is not known"),
        (Facts { map: None, ..whole.clone() }, "its map is not known"),
        (Facts { align: None, ..whole.clone() }, "its align is not known"),
        (Facts { usable: None, ..whole.clone() }, "its usable size is not known"),
        (Facts { align: Some(3), ..whole.clone() }, "power of two"),
        (Facts { usable: Some(u64::MAX), ..whole.clone() }, "conflicting"),
        (Facts { usable: Some(17 * GIB), ..whole.clone() }, "outside the namespace"),
        (Facts { first_usable: Some(0), ..whole.clone() }, "outside the namespace"),
        (Facts { start: Some(START + 4096), ..whole.clone() }, "not a multiple"),
        (no_root(whole.clone()), "as root"),
    ] {
        let got = assessed(&facts);
        assert_eq!(got.verdict, Verdict::Unknown, "{got:?}");
        assert!(got.detail.contains(reason), "{reason}: {got:?}");
        assert_eq!((got.numbers.reservation, got.numbers.excess), (None, None), "{got:?}");
    }
}

#[test]
fn an_event_that_failed_is_refused() {
    let got = assessed(&Facts { refusal: Some(EnableRefusal::Errno(6)), ..Facts::new(NamespaceMode::Fsdax) });
    assert!(got.verdict == Verdict::Refused && got.detail.contains("errno 6"), "{got:?}");
}

proptest::proptest! {
    /// Whatever sysfs contains: no panic, and the numbers that are given add up.
    #[test]
    fn no_numbers_panic_or_contradict(
        size: u64, start: Option<u64>, first_usable: Option<u64>, usable: Option<u64>, align: Option<u64>, mem: bool, page in 0u32..20,
    ) {
        let map = Some(if mem { Map::Mem } else { Map::Dev });
        let facts = Facts { map, start, size: Some(size), align, first_usable, usable, ..Facts::new(NamespaceMode::Devdax) };
        let got = assess(&facts, &KernelParameters { page_size: 1 << page, ..host() }, &Thresholds::default());
        if let Numbers { usable: Some(usable), reservation: Some(reserved), end_trunc: Some(end), .. } = got.numbers {
            proptest::prop_assert_eq!(u128::from(usable) + u128::from(reserved) + u128::from(end), u128::from(size));
        }
    }

    /// Any bytes for a block, too.
    #[test]
    fn no_block_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 96), size: u64, start: Option<u64>, dax: bool) {
        let kind = if dax { SuperblockKind::Dax } else { SuperblockKind::Pfn };
        let mut bytes = bytes;
        bytes[..16].copy_from_slice(kind.signature());
        let block = InfoBlock::from_head(&bytes).ok();
        let facts = Facts { block, start, size: Some(size), ..Facts::new(NamespaceMode::Fsdax) };
        let _ = assess(&facts, &host(), &Thresholds::default());
    }

    /// The guard's rule, without 128-bit arithmetic, is what 128-bit arithmetic gives; around the limits above all.
    #[test]
    fn one_rule_for_guard_and_reports(
        size: u64, align_shift in 0_u32..=32, aligns in 0..=u64::from(u32::MAX), parts_per_million in 0_u64..=1_000_000, any_excess: u64,
    ) {
        let thresholds = Thresholds { reference_struct_page: 64, aligns, parts_per_million };
        let align = 1_u64 << align_shift;
        let (wide_align, wide_share) = (u128::from(align) * u128::from(aligns), u128::from(size) * u128::from(parts_per_million));
        let limits = [wide_align, wide_share / 1_000_000].map(|limit| u64::try_from(limit).unwrap_or(u64::MAX));
        let near = limits.iter().flat_map(|limit| [limit.saturating_sub(1), *limit, limit.saturating_add(1)]);
        for excess in near.chain([any_excess]) {
            let exact = u128::from(excess) > wide_align && u128::from(excess) * 1_000_000 > wide_share;
            proptest::prop_assert_eq!(thresholds.passed_by(excess, align, size), exact, "{} {} {:?}", excess, size, thresholds);
        }
    }
}
