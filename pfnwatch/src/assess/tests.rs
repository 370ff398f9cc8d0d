//! One table-like test for each rule, with the traps of the kernel facts.

use pfnwatch_common::{Geometry, InfoBlock, Map, Rule, reservation, superblock::Kind};

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const START: u64 = 4 * GIB;

fn host() -> Host {
    Host {
        page_size: 4096,
        compat: 2 * MIB,
        struct_page: Some(64),
        max_struct_page: Some(64),
        rule: Rule::default(),
        deduplicates: Some(true),
    }
}

fn geometry(size: u64, align: u64, map: Map) -> Geometry {
    Geometry { start: START, size, align, map, page_size: 4096, compat: 2 * MIB }
}

/// The block that a kernel reserving `n` bytes for each page writes.
fn block(geometry: &Geometry, n: u16) -> InfoBlock {
    let made = reservation(geometry, n.into(), Rule::default()).unwrap();
    InfoBlock {
        kind: Kind::Pfn,
        uuid: [1; 16],
        parent_uuid: [2; 16],
        flags: 0,
        version_major: 1,
        version_minor: 4,
        dataoff: made.dataoff,
        npfns: made.npfns,
        mode: geometry.map as u32,
        start_pad: 0,
        end_trunc: u32::try_from(made.end_trunc).unwrap(),
        align: geometry.align,
        page_size: Some(u32::try_from(geometry.page_size).unwrap()),
        page_struct_size: n,
    }
}

/// As root sees it in sysfs, without the block.
fn sysfs(geometry: &Geometry, n: u64) -> Facts {
    let made = reservation(geometry, n, Rule::default()).unwrap();
    Facts {
        map: Some(geometry.map),
        start: Some(geometry.start),
        size: Some(geometry.size),
        align: Some(geometry.align),
        first_usable: Some(geometry.start + made.dataoff),
        usable: Some(made.usable),
        enabled: true,
        ..Facts::new(Mode::Fsdax)
    }
}

fn with_block(geometry: &Geometry, block: InfoBlock) -> Facts {
    Facts { start: Some(geometry.start), size: Some(geometry.size), block: Some(block), ..Facts::new(Mode::Fsdax) }
}

fn judged(facts: &Facts) -> Assessment {
    assess(facts, &host(), &Thresholds::default())
}

fn no_root(facts: Facts) -> Facts {
    Facts { start: None, first_usable: None, ..facts }
}

#[test]
fn class_a_is_found_by_block_by_addresses_and_by_sizes() {
    for (size, excess) in
        [(GIB, 16 * MIB), (16 * GIB, 256 * MIB), (1024 * GIB, 16384 * MIB), (256 * GIB + 4096, 4096 * MIB)]
    {
        let geometry = geometry(size, 2 * MIB, Map::Dev);
        let block = block(&geometry, 128);
        for (facts, evidence) in [
            (with_block(&geometry, block), Evidence::InfoBlock),
            (Facts { observed: true, ..with_block(&geometry, block) }, Evidence::Observed),
            (sysfs(&geometry, 128), Evidence::Sysfs),
            (no_root(sysfs(&geometry, 128)), Evidence::Inferred),
        ] {
            let got = judged(&facts);
            assert_eq!((got.verdict, got.cause), (Verdict::Oversize, Cause::RegressedKernel), "{got:?}");
            assert_eq!((got.numbers.excess, got.evidence), (Some(excess), Some(evidence)), "{got:?}");
            assert_eq!(got.numbers.unused, Some(excess));
            let n = got.numbers;
            let sum = n.reservation.unwrap() + n.usable.unwrap() + n.end_trunc.unwrap();
            assert!(size - sum < 4096, "{n:?}");
        }
    }
}

/// A block of a 128 kernel that costs nothing more is not class A: coarse align, map=mem, or very small.
#[test]
fn class_a_never_where_128_costs_nothing() {
    for geometry in [
        geometry(16 * GIB, GIB, Map::Dev),
        geometry(32 * MIB, 2 * MIB, Map::Dev),
        geometry(1024 * GIB, 2 * MIB, Map::Mem),
        geometry(16 * GIB, GIB, Map::Mem),
    ] {
        for facts in [with_block(&geometry, block(&geometry, 128)), sysfs(&geometry, 128)] {
            let got = judged(&facts);
            assert_eq!(got.verdict, Verdict::Ok, "{got:?}");
            assert_ne!(got.cause, Cause::RegressedKernel, "{got:?}");
            assert_eq!(got.numbers.excess, Some(0), "{got:?}");
        }
    }
}

/// One align more is within the threshold; the cause is named all the same, and the sum of many is judged.
#[test]
fn small_excesses_add_up_on_the_host() {
    let geometry = geometry(64 * MIB, 2 * MIB, Map::Dev);
    let got = judged(&with_block(&geometry, block(&geometry, 128)));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::RegressedKernel, Some(2 * MIB)));
    let mut totals = Totals::default();
    (0..100).for_each(|_| totals.add(&got));
    assert_eq!((totals.oversize, totals.excess_bytes), (0, 200 * MIB));
    assert_eq!(totals.verdict(&Thresholds::default()), Verdict::Oversize);
    assert_eq!(Totals::default().verdict(&Thresholds::default()), Verdict::Ok);
}

/// Half the size after the fact: dataoff is then what 128 would give, to the byte.
#[test]
fn resized_is_its_own_cause_and_never_a() {
    let old = geometry(64 * GIB, 2 * MIB, Map::Dev);
    for (n, size) in [(64, 32 * GIB), (128, 32 * GIB), (64, 63 * GIB), (64, 128 * GIB), (128, 128 * GIB)] {
        let now = Geometry { size, ..old };
        let got = judged(&with_block(&now, block(&old, n)));
        assert_eq!(got.cause, Cause::Resized, "{n} {size} {got:?}");
        assert!(got.detail.contains("64 GiB"), "{got:?}");
    }
    // Shrunk to half it wastes as much as the regression would, and that is worth a finding; grown it wastes nothing.
    let shrunk = judged(&with_block(&Geometry { size: 32 * GIB, ..old }, block(&old, 64)));
    assert_eq!((shrunk.verdict, shrunk.numbers.excess), (Verdict::Oversize, Some(512 * MIB)));
    let grown = judged(&with_block(&Geometry { size: 128 * GIB, ..old }, block(&old, 64)));
    assert_eq!((grown.verdict, grown.numbers.excess), (Verdict::Ok, Some(0)));
}

/// A page more or less is no resize: npfns cannot say more than whole pages.
#[test]
fn broken_pages_are_no_resize() {
    let odd = geometry(GIB + 1234, 2 * MIB, Map::Dev);
    assert_ne!(judged(&with_block(&odd, block(&odd, 64))).cause, Cause::Resized);
}

#[test]
fn moved_is_its_own_cause_and_refused_where_the_align_is_broken() {
    let old = geometry(64 * GIB, GIB, Map::Dev);
    let now = Geometry { start: START + 2 * MIB, ..old };
    let got = judged(&with_block(&now, block(&old, 128)));
    assert_eq!((got.verdict, got.cause), (Verdict::Refused, Cause::Moved), "{got:?}");
    let still = judged(&with_block(&Geometry { start: START + 7 * GIB, ..old }, block(&old, 64)));
    assert_eq!(still.verdict, Verdict::Ok);
    assert_ne!(still.cause, Cause::Moved);
}

/// Blocks of 4.x kernels: 128 KiB for labels, the memmap rounded up to whole sections, a shifted start; dataoff then
/// exceeds today's by up to one align, which at 1 GiB is 1 GiB.
#[test]
fn older_layouts_are_their_own_cause_and_never_a() {
    let plain = geometry(64 * GIB, 2 * MIB, Map::Dev);
    let coarse = geometry(64 * GIB - 2 * MIB, GIB, Map::Dev);
    for (minor, start_pad, extra, geometry) in
        [(0, 0, 2 * MIB, plain), (1, 0, 2 * MIB, plain), (2, 0, 0, plain), (3, 64 * MIB, 0, plain), (3, 0, GIB, coarse)]
    {
        let mut old = block(&geometry, 64);
        old.version_minor = minor;
        old.page_size = None;
        old.start_pad = u32::try_from(start_pad).unwrap();
        old.dataoff += extra;
        old.npfns -= (extra + start_pad) / 4096;
        if minor < 2 {
            old.align = 1 << old.dataoff.ilog2();
        }
        let facts = Facts { enabled: true, ..with_block(&geometry, old) };
        let got = judged(&facts);
        assert_eq!(got.cause, Cause::OlderKernel, "{minor} {got:?}");
        assert_eq!(got.numbers.excess, Some(extra + start_pad), "{got:?}");
    }
    // Without the block the extra align is not laid at a regressed kernel's door either.
    let mut facts = sysfs(&coarse, 64);
    facts.first_usable = facts.first_usable.map(|first| first + GIB);
    facts.usable = facts.usable.map(|usable| usable - GIB);
    let got = judged(&facts);
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::Unexplained), "{got:?}");
    assert!(got.detail.contains("the info block would tell"), "{got:?}");
    let regressed = Host { max_struct_page: Some(128), ..host() };
    assert_eq!(assess(&facts, &regressed, &Thresholds::default()).cause, Cause::RegressedKernel);
}

/// start_pad with a start that today's formula refuses: the ideal is that of what lies behind the padding.
#[test]
fn a_shifted_start_is_judged_behind_its_padding() {
    let behind = geometry(GIB, 2 * MIB, Map::Dev);
    let mut old = block(&behind, 64);
    (old.version_minor, old.page_size, old.start_pad) = (3, None, u32::try_from(MIB).unwrap());
    let whole = Geometry { start: START - MIB, size: GIB + MIB, ..behind };
    let got = judged(&with_block(&whole, old));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
}

#[test]
fn end_trunc_is_no_reservation() {
    let geometry = geometry(16 * GIB + 2 * MIB + 4096 * 3, 1024 * MIB, Map::Dev);
    for facts in [with_block(&geometry, block(&geometry, 64)), sysfs(&geometry, 64)] {
        let got = judged(&facts);
        assert_eq!((got.verdict, got.numbers.excess), (Verdict::Ok, Some(0)), "{got:?}");
        assert_eq!((got.numbers.end_trunc, got.cause), (Some(2 * MIB + 4096 * 3), Cause::Rounding), "{got:?}");
    }
}

#[test]
fn a_large_dataoff_with_map_mem_is_rounding() {
    let geometry = geometry(16 * GIB, GIB, Map::Mem);
    let got = judged(&sysfs(&geometry, 64));
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::Rounding));
    assert_eq!(got.hints[0].bytes, GIB - 8192);
}

#[test]
fn class_b_only_for_devdax_above_4k_where_the_kernel_deduplicates() {
    let b = |mode, align, map, deduplicates| {
        let facts = Facts { mode, ..sysfs(&geometry(1024 * GIB, align, map), 64) };
        let host = Host { deduplicates, ..host() };
        let hints = assess(&facts, &host, &Thresholds::default()).hints;
        hints.into_iter().find(|hint| hint.cause == Cause::NoDeduplication)
    };
    let hint = b(Mode::Devdax, 2 * MIB, Map::Dev, Some(true)).unwrap();
    assert_eq!(hint.bytes, 16384 * MIB);
    assert!(hint.detail.contains("4 GiB of DRAM") && hint.detail.contains("page tables are not counted"), "{hint:?}");
    assert!(b(Mode::Devdax, GIB, Map::Dev, Some(true)).unwrap().detail.contains("8 MiB of DRAM"));
    for (mode, align, map, deduplicates) in [
        (Mode::Fsdax, 2 * MIB, Map::Dev, Some(true)),
        (Mode::Devdax, 4096, Map::Dev, Some(true)),
        (Mode::Devdax, 2 * MIB, Map::Mem, Some(true)),
        (Mode::Devdax, 2 * MIB, Map::Dev, Some(false)),
        (Mode::Devdax, 2 * MIB, Map::Dev, None),
    ] {
        assert_eq!(b(mode, align, map, deduplicates), None);
    }
}

#[test]
fn class_c_only_while_kmem_is_bound() {
    let facts = Facts { mode: Mode::Devdax, ..sysfs(&geometry(64 * GIB, 2 * MIB, Map::Dev), 64) };
    assert_ne!(judged(&facts).cause, Cause::SystemRam);
    let got = judged(&Facts { system_ram: true, ..facts });
    assert_eq!((got.verdict, got.cause, got.hints[0].bytes), (Verdict::Ok, Cause::SystemRam, 1024 * MIB));
}

/// Made with 4 KiB pages, read by a kernel of 64 KiB pages: judged by its own, with and without the block.
#[test]
fn class_e_is_computed_with_its_own_page_size() {
    let arm = Host { page_size: 65536, compat: 2 * MIB, ..host() };
    let geometry = geometry(1024 * GIB, 2 * MIB, Map::Dev);
    for facts in [with_block(&geometry, block(&geometry, 64)), sysfs(&geometry, 64)] {
        let got = assess(&facts, &arm, &Thresholds::default());
        assert_eq!(
            (got.verdict, got.cause, got.numbers.excess),
            (Verdict::Ok, Cause::SmallerPages, Some(0)),
            "{got:?}"
        );
        assert_eq!(got.hints[0].bytes, (16386 - 1026) * MIB);
    }
    let regressed = assess(&sysfs(&geometry, 128), &arm, &Thresholds::default());
    assert_eq!((regressed.cause, regressed.numbers.excess), (Cause::RegressedKernel, Some(16384 * MIB)));
}

#[test]
fn class_f_where_the_struct_page_shrank() {
    let smaller = Host { struct_page: Some(32), ..host() };
    let got = assess(&sysfs(&geometry(16 * GIB, 2 * MIB, Map::Dev), 64), &smaller, &Thresholds::default());
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::SmallerStructPage));
    assert_eq!((got.numbers.excess, got.numbers.unused, got.hints[0].bytes), (Some(0), Some(128 * MIB), 128 * MIB));
}

#[test]
fn a_wide_struct_page_is_no_regression() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let kmsan = Host { struct_page: Some(80), max_struct_page: Some(80), ..host() };
    for facts in [with_block(&geometry, block(&geometry, 80)), sysfs(&geometry, 80)] {
        let got = assess(&facts, &kmsan, &Thresholds::default());
        assert_eq!((got.verdict, got.cause, got.numbers.unused), (Verdict::Oversize, Cause::WideStructPage, Some(0)));
    }
    assert_eq!(judged(&sysfs(&geometry, 80)).cause, Cause::Unexplained);
}

#[test]
fn blocks_that_this_kernel_would_not_enable() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = with_block(&geometry, block(&geometry, 64));
    let kmsan = Host { struct_page: Some(80), ..host() };
    let refused = |facts: &Facts, host: &Host| assess(facts, host, &Thresholds::default());
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
    for mode in [Mode::Raw, Mode::Sector, Mode::Whole] {
        let got = judged(&Facts { size: Some(GIB), ..Facts::new(mode) });
        assert_eq!((got.verdict, got.cause, got.numbers.reservation), (Verdict::Ok, Cause::None, Some(0)));
    }
}

#[test]
fn what_is_not_known_is_unknown_with_its_reason() {
    let whole = sysfs(&geometry(16 * GIB, GIB, Map::Dev), 64);
    let unreadable = |text: &str| Some(Obstacle::Unreadable(text.to_owned()));
    for (facts, reason) in [
        (Facts { obstacle: Some(Obstacle::Locked), ..whole.clone() }, "ndctl load-keys"),
        (Facts { obstacle: Some(Obstacle::Disabled), ..whole.clone() }, "disabled"),
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
        let got = judged(&facts);
        assert_eq!(got.verdict, Verdict::Unknown, "{got:?}");
        assert!(got.detail.contains(reason), "{reason}: {got:?}");
        assert_eq!((got.numbers.reservation, got.numbers.excess), (None, None), "{got:?}");
    }
}

#[test]
fn a_block_that_sysfs_contradicts_is_reported() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = Facts { block: Some(block(&geometry, 128)), ..sysfs(&geometry, 64) };
    let got = judged(&facts);
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("conflicting evidence"), "{got:?}");
}

#[test]
fn an_event_that_failed_is_refused() {
    let got = judged(&Facts { refusal: Some(Refusal::Errno(6)), ..Facts::new(Mode::Fsdax) });
    assert!(got.verdict == Verdict::Refused && got.detail.contains("errno 6"), "{got:?}");
}

proptest::proptest! {
    /// Whatever sysfs says: no panic, and the numbers that are given add up.
    #[test]
    fn no_numbers_panic_or_contradict(
        size: u64, start: Option<u64>, first_usable: Option<u64>, usable: Option<u64>, align: Option<u64>, mem: bool, page in 0u32..20,
    ) {
        let map = Some(if mem { Map::Mem } else { Map::Dev });
        let facts = Facts { map, start, size: Some(size), align, first_usable, usable, ..Facts::new(Mode::Devdax) };
        let got = assess(&facts, &Host { page_size: 1 << page, ..host() }, &Thresholds::default());
        if let Numbers { usable: Some(usable), reservation: Some(reserved), end_trunc: Some(end), .. } = got.numbers {
            proptest::prop_assert_eq!(u128::from(usable) + u128::from(reserved) + u128::from(end), u128::from(size));
        }
    }

    /// Any bytes for a block, too.
    #[test]
    fn no_block_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 96), size: u64, start: Option<u64>, dax: bool) {
        let kind = if dax { Kind::Dax } else { Kind::Pfn };
        let mut bytes = bytes;
        bytes[..16].copy_from_slice(kind.signature());
        let block = InfoBlock::from_head(&bytes).ok();
        let facts = Facts { block, start, size: Some(size), ..Facts::new(Mode::Fsdax) };
        let _ = assess(&facts, &host(), &Thresholds::default());
    }
}
