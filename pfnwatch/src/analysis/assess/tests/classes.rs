//! The waste classes A to F, each with the cases that look like it and are not; and what changed after its block was made.

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
            let got = assessed(&facts);
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
            let got = assessed(&facts);
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
        let got = assessed(&facts);
        assert_eq!((got.verdict, got.numbers.excess), (Verdict::Ok, Some(0)), "{got:?}");
        assert_eq!((got.numbers.end_trunc, got.cause), (Some(2 * MIB + 4096 * 3), Cause::Rounding), "{got:?}");
    }
}

#[test]
fn a_large_dataoff_with_map_mem_is_rounding() {
    let geometry = geometry(16 * GIB, GIB, Map::Mem);
    let got = assessed(&sysfs(&geometry, 64));
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
    assert_ne!(assessed(&facts).cause, Cause::SystemRam);
    let got = assessed(&Facts { system_ram: true, ..facts });
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
    assert_eq!(assessed(&sysfs(&geometry, 80)).cause, Cause::Unexplained);
}

/// Half the size after the fact: dataoff is then what 128 would give, to the byte.
#[test]
fn resized_is_its_own_cause_and_never_a() {
    let old = geometry(64 * GIB, 2 * MIB, Map::Dev);
    for (n, size) in [(64, 32 * GIB), (128, 32 * GIB), (64, 63 * GIB), (64, 128 * GIB), (128, 128 * GIB)] {
        let now = Geometry { size, ..old };
        let got = assessed(&with_block(&now, block(&old, n)));
        assert_eq!(got.cause, Cause::Resized, "{n} {size} {got:?}");
        assert!(got.detail.contains("64 GiB"), "{got:?}");
    }
    // Shrunk to half it wastes as much as the regression would, and that is worth a finding; grown it wastes nothing.
    let shrunk = assessed(&with_block(&Geometry { size: 32 * GIB, ..old }, block(&old, 64)));
    assert_eq!((shrunk.verdict, shrunk.numbers.excess), (Verdict::Oversize, Some(512 * MIB)));
    // As an event has it, with the usable bytes that the block still claims.
    let event = Facts {
        first_usable: Some(START + block(&old, 64).dataoff),
        usable: Some(block(&old, 64).npfns * 4096),
        ..with_block(&Geometry { size: 32 * GIB, ..old }, block(&old, 64))
    };
    assert_eq!(assessed(&event).numbers, shrunk.numbers);
    let grown = assessed(&with_block(&Geometry { size: 128 * GIB, ..old }, block(&old, 64)));
    assert_eq!((grown.verdict, grown.numbers.excess), (Verdict::Ok, Some(0)));
}

/// A page more or less is no resize: npfns counts whole pages.
#[test]
fn broken_pages_are_no_resize() {
    let odd = geometry(GIB + 1234, 2 * MIB, Map::Dev);
    assert_ne!(assessed(&with_block(&odd, block(&odd, 64))).cause, Cause::Resized);
}

#[test]
fn moved_is_its_own_cause_and_refused_where_the_align_is_broken() {
    let old = geometry(64 * GIB, GIB, Map::Dev);
    let now = Geometry { start: START + 2 * MIB, ..old };
    let got = assessed(&with_block(&now, block(&old, 128)));
    assert_eq!((got.verdict, got.cause), (Verdict::Refused, Cause::Moved), "{got:?}");
    let still = assessed(&with_block(&Geometry { start: START + 7 * GIB, ..old }, block(&old, 64)));
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
        let got = assessed(&facts);
        assert_eq!(got.cause, Cause::OlderKernel, "{minor} {got:?}");
        assert_eq!(got.numbers.excess, Some(extra + start_pad), "{got:?}");
    }
    // Without the block the extra align is not laid at a regressed kernel's door either.
    let mut facts = sysfs(&coarse, 64);
    facts.first_usable = facts.first_usable.map(|first| first + GIB);
    facts.usable = facts.usable.map(|usable| usable - GIB);
    let got = assessed(&facts);
    assert_eq!((got.verdict, got.cause), (Verdict::Ok, Cause::Unexplained), "{got:?}");
    assert!(got.detail.contains("the info block would show which"), "{got:?}");
    let regressed = KernelParameters { max_struct_page: Some(128), ..host() };
    assert_eq!(assess(&facts, &regressed, &Thresholds::default()).cause, Cause::RegressedKernel);
}

/// start_pad with a start that today's formula refuses: the ideal is that of what lies behind the padding.
#[test]
fn a_shifted_start_is_judged_behind_its_padding() {
    let behind = geometry(GIB, 2 * MIB, Map::Dev);
    let mut old = block(&behind, 64);
    (old.version_minor, old.page_size, old.start_pad) = (3, None, u32::try_from(MIB).unwrap());
    let whole = Geometry { start: START - MIB, size: GIB + MIB, ..behind };
    let got = assessed(&with_block(&whole, old));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
}

/// 64 MiB are missing at the end. By the sizes alone, 128 bytes for each page would take as much.
#[test]
fn a_cut_at_the_end_is_never_the_regressions() {
    let geometry = geometry(4 * GIB, 2 * MIB, Map::Dev);
    let cut = Facts { usable: Some(4_158_652_416), first_usable: Some(0x1_0420_0000), ..sysfs(&geometry, 64) };
    let got = assessed(&cut);
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
    let detail = "64 MiB cut off at the end by an older kernel, a rebuild returns it: nothing too much at the start (by \
                  its bytes; the info block would prove it)";
    assert_eq!((got.detail.as_str(), got.hints), (detail, Vec::new()));
    let mut made = block(&geometry, 64);
    (made.end_trunc, made.npfns) = (64 << 20, made.npfns - 64 * MIB / 4096);
    let by_block = assessed(&Facts { block: Some(made), ..cut.clone() });
    assert_eq!((by_block.verdict, by_block.cause, by_block.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)));
    assert!(by_block.detail.starts_with("64 MiB cut off at the end by an older kernel"), "{by_block:?}");
    let sizes = assessed(&no_root(cut.clone()));
    assert_eq!((sizes.verdict, sizes.cause, sizes.numbers.excess), (Verdict::Unknown, Cause::None, None), "{sizes:?}");
    assert!(sizes.detail.contains("its first usable address is needed, which only root can read"), "{sizes:?}");
    // More than any kernel cuts off was added later.
    let grown = Facts { size: Some(5 * GIB), ..sysfs(&geometry, 64) };
    assert_eq!((assessed(&grown).verdict, assessed(&grown).cause), (Verdict::Ok, Cause::Resized));
}

/// Kernels before 5.3 padded the start to a section as well: here with the bytes that 128 a page would take.
#[test]
fn a_padded_start_is_never_the_regressions() {
    let whole = Geometry { start: START + 64 * MIB, ..geometry(4 * GIB + 64 * MIB, 2 * MIB, Map::Dev) };
    let as_regressed = sysfs(&whole, 128);
    let got = assessed(&as_regressed);
    assert_eq!((got.verdict, got.cause), (Verdict::Oversize, Cause::OlderKernel), "{got:?}");
    let aligned = assessed(&sysfs(&Geometry { start: START, ..whole }, 128));
    assert_eq!(aligned.cause, Cause::RegressedKernel, "{aligned:?}");
}

#[test]
fn a_block_that_sysfs_contradicts_is_reported() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = Facts { block: Some(block(&geometry, 128)), ..sysfs(&geometry, 64) };
    let got = assessed(&facts);
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("conflicting evidence"), "{got:?}");
}

/// As proposed upstream: the kernel maps a devdax namespace without an info block whole.
#[test]
fn without_an_info_block_nothing_is_reserved() {
    let start = 64 * GIB;
    let whole = Facts {
        map: Some(Map::Mem),
        start: Some(start),
        size: Some(16 * GIB),
        align: Some(GIB),
        first_usable: Some(start),
        usable: Some(16 * GIB),
        enabled: true,
        ..Facts::new(NamespaceMode::Devdax)
    };
    let stands_for_none = InfoBlock { npfns: 0, mode: 1, align: GIB, ..InfoBlock::sample(0, 64) };
    for facts in [
        Facts { block: Some(stands_for_none), ..whole.clone() },
        Facts { block: Some(stands_for_none), observed: true, ..whole.clone() },
        whole.clone(),
        Facts { start: None, first_usable: None, ..whole.clone() },
    ] {
        let got = assessed(&facts);
        assert_eq!((got.verdict, got.cause, got.hints.len()), (Verdict::Ok, Cause::None, 0), "{got:?}");
        let Numbers { reservation, ideal, excess, usable, end_trunc, dram, .. } = got.numbers;
        assert_eq!(
            (reservation, ideal, excess, usable, end_trunc),
            (Some(0), Some(0), Some(0), Some(16 * GIB), Some(0))
        );
        // 16 compound pages of 1 GiB keep two pages of memmap each, if their place is known to be aligned.
        assert_eq!(dram, facts.start.map(|_| 16 * 8192));
    }
    assert_eq!(assessed(&Facts { enabled: false, ..whole.clone() }).numbers.dram, Some(0));
    // A block of 2 MiB is one.
    let real = Facts { first_usable: Some(start + GIB), usable: Some(15 * GIB), ..whole };
    assert_eq!(assessed(&real).numbers.reservation, Some(GIB));
}

/// What a kernel before version 1.4 counted in pages of 4 KiB is not taken for another size by one with larger pages.
#[test]
fn a_block_below_version_1_4_is_an_older_kernel_s_on_a_host_with_large_pages_too() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let old = InfoBlock { version_minor: 3, page_size: None, ..block(&geometry, 64) };
    for page_size in [4096, 65536] {
        let host = KernelParameters { page_size, ..host() };
        let got = assess(&with_block(&geometry, old), &host, &Thresholds::default());
        assert_eq!((got.cause, got.numbers.reservation), (Cause::OlderKernel, Some(258 * MIB)), "{got:?}");
    }
}
