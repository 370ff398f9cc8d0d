//! From what is wanted to the size to type.

use pfnwatch_common::{Geometry, KernelQuirks, Rejection, reservation};

use super::place::{MIN_NAMESPACE_BYTES, SizeRules};

/// More steps than any size below 2^64 needs, with a struct page that is smaller than a quarter of a page.
const MAX_STEPS: usize = 1 << 20;

/// The least size from `from` on that ndctl takes and that leaves at least `usable` bytes at the geometry's start; its size is of no
/// account. `None` if there is none below 2^64.
///
/// The first usable address never falls as the size grows. So what the aligned end must reach with one size, it must reach with
/// every larger one, and no size between is left out.
pub(super) fn least_size(
    usable: u64,
    geometry: &Geometry,
    struct_page: u64,
    rules: &SizeRules,
    from: u64,
) -> Option<u64> {
    let step = rules.step()?;
    let align = geometry.align.max(geometry.compat);
    let least = usable.max(from).max(MIN_NAMESPACE_BYTES);
    let mut size = least.checked_next_multiple_of(step)?;
    for _ in 0..MAX_STEPS {
        let needed = match reservation(&Geometry { size, ..*geometry }, struct_page, KernelQuirks::default()) {
            Ok(made) if made.usable >= usable => return Some(size),
            Ok(made) => {
                let end =
                    geometry.start.checked_add(made.dataoff)?.checked_add(usable)?.checked_next_multiple_of(align)?;
                end.checked_sub(geometry.start)?
            }
            Err(Rejection::NoRoom | Rejection::EndBeforeStart | Rejection::TooSmall) => 0,
            Err(_) => return None,
        };
        size = needed.max(size.checked_add(step)?).checked_next_multiple_of(step)?;
    }
    None
}

/// How many pieces of `piece` bytes, each at a multiple of its size, lie between two addresses.
pub(super) fn pieces(first: u64, end: u64, piece: u64) -> u64 {
    let begin = first.div_ceil(piece);
    (end / piece).saturating_sub(begin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pfnwatch_common::Map;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn geometry(align: u64) -> Geometry {
        Geometry { start: 4 * GIB, size: 0, align, map: Map::Dev, page_size: 4096, compat: 2 * MIB }
    }

    #[test]
    fn a_size_for_1500_gib() {
        let rules = SizeRules { align: 2 * MIB, region_align: 16 * MIB, ways: 1 };
        let size = least_size(1500 * GIB, &geometry(2 * MIB), 64, &rules, 0).unwrap();
        assert_eq!(size, 1500 * GIB + 24384 * MIB);
        let usable =
            |size| reservation(&Geometry { size, ..geometry(2 * MIB) }, 64, KernelQuirks::default()).unwrap().usable;
        assert!(usable(size) >= 1500 * GIB && usable(size - 16 * MIB) < 1500 * GIB);
        assert_eq!(least_size(u64::MAX, &geometry(2 * MIB), 64, &rules, 0), None);
        assert_eq!(least_size(GIB, &geometry(2 * MIB), 4096, &rules, 0), None, "the memmap is as large as the rest");
    }

    #[test]
    fn pieces_lie_at_multiples_of_their_size() {
        assert_eq!(pieces(4 * GIB, 8 * GIB, GIB), 4);
        assert_eq!(pieces(4 * GIB + 18 * MIB, 8 * GIB, GIB), 3);
        assert_eq!(pieces(4 * GIB + 18 * MIB, 8 * GIB - 4096, GIB), 2);
        assert_eq!(pieces(5 * GIB - 1, 5 * GIB + 1, GIB), 0);
        assert_eq!(pieces(8 * GIB, 4 * GIB, GIB), 0);
    }

    prop_compose! {
        fn cases()(
            page_start in 0..1_u64 << 22, align in prop_oneof![Just(4096), Just(2 * MIB), Just(GIB)],
            map in prop_oneof![Just(Map::Dev), Just(Map::Mem)], struct_page in prop_oneof![Just(64), Just(80), Just(128)],
            region_align in prop_oneof![Just(4096), Just(2 * MIB), Just(16 * MIB)], ways in 1_u64..7,
        ) -> (Geometry, u64, SizeRules) {
            let geometry = Geometry { start: page_start * 2 * MIB, map, ..geometry(align) };
            (geometry, struct_page, SizeRules { align, region_align, ways })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// The formula is asked about every smaller size near it that ndctl takes, and about some far below.
        #[test]
        fn nothing_smaller_leaves_as_much((geometry, struct_page, rules) in cases(), usable in 1..1_u64 << 42) {
            let reserve = |size| reservation(&Geometry { size, ..geometry }, struct_page, KernelQuirks::default());
            let size = least_size(usable, &geometry, struct_page, &rules, 0).unwrap();
            prop_assert!(reserve(size).unwrap().usable >= usable);
            let step = rules.step().unwrap();
            prop_assert_eq!(size % step, 0);
            let below = (1..600).chain((1..40).map(|far| far * 1009)).filter_map(|k| size.checked_sub(k * step));
            for smaller in below.filter(|smaller| *smaller >= MIN_NAMESPACE_BYTES) {
                prop_assert!(reserve(smaller).map_or(0, |made| made.usable) < usable, "{} of {}", smaller, size);
            }
        }

        #[test]
        fn pieces_are_counted_one_by_one(first in 0..1_u64 << 34, length in 0..1_u64 << 34, power in 21..31_u32) {
            let piece = 1 << power;
            let counted = (0..1_u64 << 14).map(|k| k * piece);
            let counted = counted.filter(|at| *at >= first && at + piece <= first + length).count();
            prop_assert_eq!(pieces(first, first + length, piece), u64::try_from(counted).unwrap());
        }

        #[test]
        fn no_numbers_panic(start: u64, usable: u64, from: u64, align: u64, region_align: u64, ways: u64, n in 1..5000_u64) {
            let geometry = Geometry { start, ..geometry(align) };
            let rules = SizeRules { align, region_align: region_align | 1 << 40, ways };
            let _ = least_size(usable, &geometry, n, &rules, from);
        }
    }
}
