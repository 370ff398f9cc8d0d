//! The waste classes A to F, each with the cases that look like it and are not.

use super::*;
use crate::model::verdict::Evidence;

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
            // As much can be an older kernel's cut at the end.
            if evidence == Evidence::Inferred && excess < 256 * MIB {
                assert!(got.verdict == Verdict::Unknown && got.detail.contains("as root"), "{got:?}");
                continue;
            }
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
        let host = KernelParameters { deduplicates, ..host() };
        let hints = assess(&facts, &host, &Thresholds::default()).hints;
        hints.into_iter().find(|hint| hint.cause == Cause::NoDeduplication)
    };
    let hint = b(NamespaceMode::Devdax, 2 * MIB, Map::Dev, Some(true)).unwrap();
    assert_eq!(hint.bytes, 16384 * MIB);
    assert!(hint.detail.contains("4 GiB of DRAM") && hint.detail.contains("page tables are not counted"), "{hint:?}");
    assert!(b(NamespaceMode::Devdax, GIB, Map::Dev, Some(true)).unwrap().detail.contains("8 MiB of DRAM"));
    for (mode, align, map, deduplicates) in [
        (NamespaceMode::Fsdax, 2 * MIB, Map::Dev, Some(true)),
        (NamespaceMode::Devdax, 4096, Map::Dev, Some(true)),
        (NamespaceMode::Devdax, 2 * MIB, Map::Mem, Some(true)),
        (NamespaceMode::Devdax, 2 * MIB, Map::Dev, Some(false)),
        (NamespaceMode::Devdax, 2 * MIB, Map::Dev, None),
    ] {
        assert_eq!(b(mode, align, map, deduplicates), None);
    }
}

#[test]
fn class_c_only_while_kmem_is_bound() {
    let facts = Facts { mode: NamespaceMode::Devdax, ..sysfs(&geometry(64 * GIB, 2 * MIB, Map::Dev), 64) };
    assert_ne!(judged(&facts).cause, Cause::SystemRam);
    let got = judged(&Facts { system_ram: true, ..facts });
    assert_eq!((got.verdict, got.cause, got.hints[0].bytes), (Verdict::Ok, Cause::SystemRam, 1024 * MIB));
}

/// Made with 4 KiB pages, read by a kernel of 64 KiB pages: judged by its own, with and without the block.
#[test]
fn class_e_is_computed_with_its_own_page_size() {
    let arm = KernelParameters { page_size: 65536, compat: 2 * MIB, ..host() };
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
    let smaller = KernelParameters { struct_page: Some(32), ..host() };
    let got = assess(&sysfs(&geometry(16 * GIB, 2 * MIB, Map::Dev), 64), &smaller, &Thresholds::default());
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::SmallerStructPage));
    assert_eq!((got.numbers.excess, got.numbers.unused, got.hints[0].bytes), (Some(0), Some(128 * MIB), 128 * MIB));
}

#[test]
fn a_wide_struct_page_is_no_regression() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let kmsan = KernelParameters { struct_page: Some(80), max_struct_page: Some(80), ..host() };
    for facts in [with_block(&geometry, block(&geometry, 80)), sysfs(&geometry, 80)] {
        let got = assess(&facts, &kmsan, &Thresholds::default());
        assert_eq!((got.verdict, got.cause, got.numbers.unused), (Verdict::Oversize, Cause::WideStructPage, Some(0)));
    }
    assert_eq!(judged(&sysfs(&geometry, 80)).cause, Cause::Unexplained);
}
