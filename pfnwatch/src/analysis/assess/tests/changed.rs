//! Namespaces that changed after their block was made, and blocks of older kernels: never the regression's.

use super::*;

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
    // As an event has it, with the usable bytes that the block still claims.
    let event = Facts {
        first_usable: Some(START + block(&old, 64).dataoff),
        usable: Some(block(&old, 64).npfns * 4096),
        ..with_block(&Geometry { size: 32 * GIB, ..old }, block(&old, 64))
    };
    assert_eq!(judged(&event).numbers, shrunk.numbers);
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
    let got = judged(&with_block(&whole, old));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
}

/// 64 MiB are missing at the end. By the sizes alone, 128 bytes for each page would take as much.
#[test]
fn a_cut_at_the_end_is_never_the_regressions() {
    let geometry = geometry(4 * GIB, 2 * MIB, Map::Dev);
    let cut = Facts { usable: Some(4_158_652_416), first_usable: Some(0x1_0420_0000), ..sysfs(&geometry, 64) };
    let got = judged(&cut);
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
    let detail = "64 MiB cut off at the end by an older kernel, a rebuild returns it: nothing too much at the start (by \
                  its bytes; the info block would prove it)";
    assert_eq!((got.detail.as_str(), got.hints), (detail, Vec::new()));
    let mut made = block(&geometry, 64);
    (made.end_trunc, made.npfns) = (64 << 20, made.npfns - 64 * MIB / 4096);
    let by_block = judged(&Facts { block: Some(made), ..cut.clone() });
    assert_eq!((by_block.verdict, by_block.cause, by_block.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)));
    assert!(by_block.detail.starts_with("64 MiB cut off at the end by an older kernel"), "{by_block:?}");
    let sizes = judged(&no_root(cut.clone()));
    assert_eq!((sizes.verdict, sizes.cause, sizes.numbers.excess), (Verdict::Unknown, Cause::None, None), "{sizes:?}");
    assert!(sizes.detail.contains("its first usable address is needed, which only root can read"), "{sizes:?}");
    // More than any kernel cuts off was added later.
    let grown = Facts { size: Some(5 * GIB), ..sysfs(&geometry, 64) };
    assert_eq!((judged(&grown).verdict, judged(&grown).cause), (Verdict::Ok, Cause::Resized));
}

/// Kernels before 5.3 padded the start to a section as well: here with the bytes that 128 a page would take.
#[test]
fn a_padded_start_is_never_the_regressions() {
    let whole = Geometry { start: START + 64 * MIB, ..geometry(4 * GIB + 64 * MIB, 2 * MIB, Map::Dev) };
    let as_regressed = sysfs(&whole, 128);
    let got = judged(&as_regressed);
    assert_eq!((got.verdict, got.cause), (Verdict::Oversize, Cause::OlderKernel), "{got:?}");
    let aligned = judged(&sysfs(&Geometry { start: START, ..whole }, 128));
    assert_eq!(aligned.cause, Cause::RegressedKernel, "{aligned:?}");
}

#[test]
fn a_block_that_sysfs_contradicts_is_reported() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = Facts { block: Some(block(&geometry, 128)), ..sysfs(&geometry, 64) };
    let got = judged(&facts);
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("conflicting evidence"), "{got:?}");
}
