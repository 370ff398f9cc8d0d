//! Namespaces out of real reports.

use super::*;
use crate::model::verdict::Evidence;

/// Size and usable bytes, as anyone sees them, of namespaces that a kernel without the regression made.
#[test]
fn sizes_that_people_report_are_in_order() {
    let (mib2, mib16) = (2 * MIB, 16 * MIB);
    for (size, usable, map, page_size, align) in [
        (2_147_483_648, 2_111_832_064, Map::Dev, 4096, mib2),
        (4_294_967_296, 4_225_761_280, Map::Dev, 4096, mib2),
        (17_179_869_184, 16_909_336_576, Map::Dev, 4096, mib2),
        (135_291_469_824, 133_175_443_456, Map::Dev, 4096, mib2),
        (268_435_456, 262_144_000, Map::Dev, 4096, mib2),
        (67_108_864, 65_011_712, Map::Mem, 4096, mib2),
        (16_106_127_360, 16_089_350_144, Map::Dev, 65536, mib16),
    ] {
        let geometry = Geometry { size, align, map, page_size, ..geometry(size, align, map) };
        let made = reservation(&geometry, 64, KernelQuirks::default()).unwrap();
        assert_eq!(made.usable, usable, "{size}");
        let facts = no_root(Facts { usable: Some(usable), ..sysfs(&geometry, 64) });
        let facts = if align > mib2 { Facts { start: Some(START), ..facts } } else { facts };
        let got = assess(&facts, &KernelParameters { page_size, ..host() }, &Thresholds::default());
        assert_eq!((got.verdict, got.numbers.excess), (Verdict::Ok, Some(0)), "{size}: {got:?}");
        assert_ne!(got.cause, Cause::RegressedKernel);
    }
}

/// A kernel of 2018 rounds the memmap up to a huge page: 128 bytes for each page would give 2 MiB.
#[test]
fn a_small_namespace_of_2018_is_an_older_kernels() {
    let (size, usable) = (33_554_432, 29_360_128);
    for first_usable in [None, Some(START + 4 * MIB)] {
        let facts = Facts { usable: Some(usable), first_usable, ..sysfs(&geometry(size, 2 * MIB, Map::Dev), 64) };
        let facts = if first_usable.is_none() { no_root(facts) } else { facts };
        let evidence = if first_usable.is_none() { Evidence::Inferred } else { Evidence::Sysfs };
        let got = assessed(&facts);
        assert_eq!((got.cause, got.evidence), (Cause::OlderKernel, Some(evidence)), "{got:?}");
        let regressed = KernelParameters { max_struct_page: Some(128), ..host() };
        let got = assess(&facts, &regressed, &Thresholds::default());
        assert_eq!(got.cause, Cause::OlderKernel, "even where such a kernel runs: {got:?}");
    }
}

/// Images of Kata containers and of PMEM-CSI.
#[test]
fn an_image_whose_tool_sets_no_npfns_is_in_order() {
    let block = InfoBlock {
        version_major: 0,
        version_minor: 2,
        mode: 1,
        npfns: 0,
        page_size: None,
        ..InfoBlock::sample(2 * MIB, 64)
    };
    let facts = with_block(&geometry(128 * MIB, 2 * MIB, Map::Mem), block);
    let got = assessed(&Facts { enabled: true, usable: Some(126 * MIB), ..facts });
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::HandMade), "{got:?}");
    assert_eq!(got.numbers.reservation, Some(2 * MIB));
    assert!(got.detail.contains("written by a tool, npfns not set"), "{}", got.detail);
}

/// 1 GiB + 8 KiB that starts 8 KiB off: `ndctl write-infoblock -a 4K -O 8K`.
#[test]
fn a_start_pad_by_hand_is_not_a_moved_base() {
    let geometry = Geometry { start: START + 8192, ..geometry(GIB + 8192, 4096, Map::Dev) };
    let block = InfoBlock {
        start_pad: 2_088_960,
        end_trunc: 16 << 10,
        align: 4096,
        npfns: (GIB + 8192 - 18_866_176 - 2_088_960 - (16 << 10)) / 4096,
        ..InfoBlock::sample(18_866_176, 64)
    };
    let got = assessed(&with_block(&geometry, block));
    assert_eq!(
        (got.verdict, got.cause, got.numbers.excess),
        (Verdict::Ok, Cause::HandMade, Some(2_088_960)),
        "{got:?}"
    );
    assert!(got.detail.contains("made by hand with a start_pad of 1.9 MiB"), "{}", got.detail);
}

/// 6.1 writes a block with nothing usable.
#[test]
fn an_empty_namespace_warns_before_it_hurts() {
    let geometry = geometry(2 * MIB + 4096, 2 * MIB, Map::Dev);
    let made = reservation(&geometry, 64, KernelQuirks { allows_empty: true }).unwrap();
    let block = InfoBlock { npfns: made.npfns, end_trunc: 4096, ..InfoBlock::sample(made.dataoff, 64) };
    assert_eq!((made.usable, block.npfns), (0, 0));
    let enabled = Facts { enabled: true, usable: Some(0), ..with_block(&geometry, block) };
    let got = assessed(&enabled);
    assert_eq!((got.verdict, got.numbers.usable), (Verdict::Ok, Some(0)), "{got:?}");
    assert!(got.detail.starts_with("nothing is usable on it, kernels since 6.6 refuse it"), "{}", got.detail);
    let later = KernelParameters { allows_empty: Some(false), ..host() };
    let got = assess(&with_block(&geometry, block), &later, &Thresholds::default());
    assert_eq!(got.verdict, Verdict::Refused);
    assert!(got.detail.contains("bad offset with small namespace"), "{}", got.detail);
}

/// 64 MiB, where rounding to the align is worth a hint: the reason goes before it.
#[test]
fn a_refusal_is_not_hidden_by_a_hint() {
    let geometry = geometry(64 * MIB, 2 * MIB, Map::Dev);
    let block = InfoBlock { page_struct_size: 32, ..block(&geometry, 64) };
    let got = assessed(&with_block(&geometry, block));
    assert_eq!((got.verdict, got.hints.is_empty()), (Verdict::Refused, false), "{got:?}");
    assert!(got.detail.contains("init failed, struct page size mismatch"), "{}", got.detail);
}
