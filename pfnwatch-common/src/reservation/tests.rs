use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const NEW: KernelQuirks = KernelQuirks { allows_empty: false };
const OLD: KernelQuirks = KernelQuirks { allows_empty: true };

fn x86(size: u64, align: u64, map: Map) -> Geometry {
    Geometry { start: 4 * GIB, size, align, map, page_size: 4096, compat: 2 * MIB }
}

/// One row of the table in section 1 of the kernel facts: dataoff in MiB at N = 64, 80, 128, and with map=mem.
fn check_row(geometry: Geometry, [n64, n80, n128, mem]: [u64; 4]) {
    let dataoff = |map, n| reservation(&Geometry { map, ..geometry }, n, NEW).unwrap().dataoff;
    assert_eq!([64, 80, 128].map(|n| dataoff(Map::Dev, n)), [n64, n80, n128].map(|mib| mib * MIB), "{geometry:?}");
    assert_eq!(dataoff(Map::Mem, 64), mem * MIB, "{geometry:?}");
}

#[test]
fn table_of_the_kernel_facts() {
    check_row(x86(TIB, 2 * MIB, Map::Dev), [16386, 20482, 32770, 2]);
    check_row(x86(TIB, GIB, Map::Dev), [17408, 21504, 33792, 1024]);
    check_row(x86(126 * GIB, 2 * MIB, Map::Dev), [2018, 2522, 4034, 2]);
    check_row(x86(16 * GIB, 2 * MIB, Map::Dev), [258, 322, 514, 2]);
    check_row(x86(16 * GIB, GIB, Map::Dev), [1024, 1024, 1024, 1024]);
    let arm = |page_size, align| Geometry { page_size, ..x86(TIB, align, Map::Dev) };
    check_row(arm(65536, 512 * MIB), [1536, 1536, 2560, 512]);
    check_row(arm(16384, 32 * MIB), [4128, 5152, 8224, 32]);
}

/// What Debian's 6.1.0-50 wrote in the VM when its libnvdimm was rebuilt with 64 and with 128.
#[test]
fn blocks_that_a_kernel_wrote() {
    let rows = [
        (4 * GIB, 69_206_016, 136_314_880),
        (GIB, 18_874_368, 35_651_584),
        (64 * MIB, 2_097_152, 4_194_304),
        (32 * MIB, 2_097_152, 2_097_152),
        (16 * MIB, 2_097_152, 2_097_152),
        (256 * GIB, 4_297_064_448, 8_592_031_744),
    ];
    for (size, n64, n128) in rows {
        for (n, dataoff) in [(64, n64), (128, n128)] {
            let got = reservation(&x86(size, 2 * MIB, Map::Dev), n, OLD).unwrap();
            assert_eq!((got.dataoff, got.end_trunc), (dataoff, 0));
            assert_eq!(got.npfns, (size - dataoff) / 4096);
        }
    }
    assert_eq!(reservation(&x86(GIB, 4096, Map::Dev), 64, NEW).unwrap().usable, 1_054_867_456);
}

#[test]
fn nothing_usable_is_refused_by_newer_kernels_alone() {
    // The end is cut to 1 GiB multiples: one GiB is left, and the reservation takes it.
    let geometry = x86(GIB + 2 * MIB, GIB, Map::Dev);
    assert_eq!(reservation(&geometry, 64, NEW), Err(Rejection::NoRoom));
    let empty = Reservation { dataoff: GIB, end_trunc: 2 * MIB, npfns: 0, usable: 0 };
    assert_eq!(reservation(&geometry, 64, OLD), Ok(empty));
    // dataoff == size: outside the namespace, refused by all.
    let full = x86(GIB, GIB, Map::Dev);
    assert_eq!([NEW, OLD].map(|rule| reservation(&full, 64, rule)), [Err(Rejection::NoRoom); 2]);
}

#[test]
fn rejections() {
    let good = x86(GIB, 2 * MIB, Map::Dev);
    let rejected = |geometry| reservation(&geometry, 64, NEW).unwrap_err();
    assert_eq!(rejected(Geometry { page_size: 0, ..good }), Rejection::PageSize);
    assert_eq!(rejected(Geometry { page_size: 3, ..good }), Rejection::PageSize);
    assert_eq!(rejected(Geometry { align: 0, ..good }), Rejection::Align);
    assert_eq!(rejected(Geometry { align: 4 * GIB, ..good }), Rejection::Align);
    assert_eq!(rejected(Geometry { compat: 0, ..good }), Rejection::Compat);
    assert_eq!(rejected(Geometry { start: MIB, ..good }), Rejection::StartMisaligned);
    assert_eq!(rejected(Geometry { size: 8191, ..good }), Rejection::TooSmall);
    assert_eq!(rejected(Geometry { start: !(2 * MIB - 1), ..good }), Rejection::Overflow);
    assert_eq!(rejected(Geometry { start: 0, size: 1 << 61, ..good }), Rejection::Overflow);
    assert_eq!(reservation(&good, 1 << 16, NEW), Err(Rejection::StructPage));
    let behind = Geometry { start: 4 * GIB + 2 * MIB, size: 512 * MIB, align: GIB, ..good };
    assert_eq!(rejected(behind), Rejection::EndBeforeStart);
}

#[test]
fn logarithms() {
    for log in 0..32 {
        assert_eq!(log2(1 << log), log);
    }
}

fn power(bits: core::ops::Range<u32>) -> impl Strategy<Value = u64> {
    bits.prop_map(|bit| 1 << bit)
}

fn map() -> impl Strategy<Value = Map> {
    prop_oneof![Just(Map::Dev), Just(Map::Mem)]
}

prop_compose! {
    fn plausible()(
        start in 0..1_u64 << 34, size in 4..1_u64 << 34, align in power(12..31), map in map(),
        page_size in power(12..17), compat in power(12..25),
    ) -> Geometry {
        Geometry { start: (start * 4096) & !(compat - 1), size: size * page_size, align, map, page_size, compat }
    }
}

prop_compose! {
    fn any_numbers()(
        start: u64, size: u64, align in prop_oneof![any::<u64>(), power(0..64)], map in map(),
        page_size in prop_oneof![any::<u64>(), power(0..64)], compat in prop_oneof![any::<u64>(), power(0..64)],
    ) -> Geometry {
        Geometry { start, size, align, map, page_size, compat }
    }
}

/// The kernel's formula in 128 bits, where nothing wraps.
fn kernel_in_128_bits(geometry: &Geometry, n: u64, rule: KernelQuirks) -> Option<[i128; 4]> {
    let [start, size, page] = [geometry.start, geometry.size, geometry.page_size].map(i128::from);
    let align = i128::from(geometry.align.max(geometry.compat));
    let end_trunc = (start + size) % align;
    let memmap = if geometry.map == Map::Dev { i128::from(n) * ((size - 8192) / page) } else { 0 };
    let dataoff = (start + 8192 + memmap + align - 1) / align * align - start;
    let limit = if rule.allows_empty { size } else { size - end_trunc };
    let left = size - dataoff - end_trunc;
    (dataoff < limit && left >= 0).then_some([dataoff, end_trunc, left / page, left / page * page])
}

proptest! {
    #[test]
    fn any_geometry_ends_in_a_reservation_or_a_rejection(geometry in any_numbers(), n: u64, allows_empty: bool) {
        if let Ok(got) = reservation(&geometry, n, KernelQuirks { allows_empty }) {
            prop_assert!(got.dataoff >= HEAD);
            prop_assert!(u128::from(got.dataoff) + u128::from(got.usable) + u128::from(got.end_trunc) <= geometry.size.into());
        }
    }

    #[test]
    fn agrees_with_the_kernel_in_wider_numbers(geometry in plausible(), n in 0..4096_u64, allows_empty: bool) {
        let rule = KernelQuirks { allows_empty };
        let got = reservation(&geometry, n, rule).ok();
        let got = got.map(|got| [got.dataoff, got.end_trunc, got.npfns, got.usable].map(i128::from));
        prop_assert_eq!(got, kernel_in_128_bits(&geometry, n, rule));
    }

    #[test]
    fn aligned_and_accounts_for_every_byte(geometry in plausible(), n in 0..4096_u64) {
        if let Ok(got) = reservation(&geometry, n, NEW) {
            let align = geometry.align.max(geometry.compat);
            prop_assert_eq!((geometry.start + got.dataoff) % align, 0);
            prop_assert_eq!((geometry.start + geometry.size - got.end_trunc) % align, 0);
            prop_assert_eq!(got.usable, got.npfns * geometry.page_size);
            let left_over = geometry.size - got.dataoff - got.usable - got.end_trunc;
            // Where a page is larger than the align, its last one may be cut; else every byte has its place.
            prop_assert!(left_over < geometry.page_size);
            prop_assert!(align < geometry.page_size || left_over == 0);
        }
    }

    #[test]
    fn monotone_in_the_struct_page_size(geometry in plausible(), n in 0..4096_u64, more in 0..4096_u64) {
        match (reservation(&geometry, n, NEW), reservation(&geometry, n + more, NEW)) {
            (Ok(lean), Ok(fat)) => prop_assert!(lean.dataoff <= fat.dataoff && lean.end_trunc == fat.end_trunc),
            (Err(lean), fat) => prop_assert_eq!(Err(lean), fat),
            (Ok(_), Err(fat)) => prop_assert_eq!(fat, Rejection::NoRoom),
        }
    }

    #[test]
    fn too_small_is_said_so(geometry in plausible(), size in 0..HEAD) {
        prop_assert_eq!(reservation(&Geometry { size, ..geometry }, 64, NEW), Err(Rejection::TooSmall));
    }
}
