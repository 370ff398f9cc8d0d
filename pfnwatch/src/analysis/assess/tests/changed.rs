//! Namespaces that changed after their block was made, and blocks of older kernels: never the regression's.

use super::*;

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

/// A page more or less is no resize: npfns cannot say more than whole pages.
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
    let got = assessed(&with_block(&whole, old));
    assert_eq!((got.verdict, got.cause, got.numbers.excess), (Verdict::Ok, Cause::OlderKernel, Some(0)), "{got:?}");
}

#[test]
fn a_block_that_sysfs_contradicts_is_reported() {
    let geometry = geometry(16 * GIB, 2 * MIB, Map::Dev);
    let facts = Facts { block: Some(block(&geometry, 128)), ..sysfs(&geometry, 64) };
    let got = assessed(&facts);
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("conflicting evidence"), "{got:?}");
}
