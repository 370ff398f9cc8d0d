//! What `ndctl create-namespace --size` makes of a size.
//!
//! ndctl rounds nothing: `validate_namespace_options()` (ndctl/namespace.c, read in v81) refuses a size that is not a
//! multiple of the region's align, or of align × interleave ways, and for the latter proposes the next one that is.
//! Below 16 MiB it refuses too. The kernel asks for the region's align again (`__size_store()` in
//! drivers/nvdimm/namespace_devs.c).

use crate::model::units::Bytes;

/// The smallest namespace that is not raw.
const MIN_NAMESPACE_BYTES: u64 = 16 << 20;

/// What the region asks of a size; all in bytes but `ways`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::command) struct SizeRules {
    pub(in crate::cli::command) align: u64,
    pub(in crate::cli::command) region_align: u64,
    pub(in crate::cli::command) ways: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::command) struct NdctlSize {
    /// The size of the namespace that is made: the requested one, or the next larger one that ndctl accepts.
    pub(in crate::cli::command) size: u64,
    pub(in crate::cli::command) refusal: Option<String>,
}

/// Applies ndctl's rules to `size`. `None` if the next accepted size is beyond 64 bits, or if the rules are
/// inconsistent.
pub(in crate::cli::command) fn apply(size: u64, rules: &SizeRules) -> Option<NdctlSize> {
    let step = rules.align.checked_mul(rules.ways)?;
    let refusal = if size.checked_rem(rules.region_align)? != 0 {
        Some(format!("{size} is not a multiple of the region's align, {}", Bytes(rules.region_align)))
    } else if size.checked_rem(step)? != 0 {
        Some(format!("{size} is not a multiple of {} x {} (align x interleave ways)", Bytes(rules.align), rules.ways))
    } else if size < MIN_NAMESPACE_BYTES {
        Some(format!("{size} is less than {}", Bytes(MIN_NAMESPACE_BYTES)))
    } else {
        None
    };
    let both = least_common_multiple(rules.region_align, step)?;
    let size = if refusal.is_some() { size.max(MIN_NAMESPACE_BYTES).checked_next_multiple_of(both)? } else { size };
    Some(NdctlSize { size, refusal })
}

fn least_common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a.checked_div(divisor)?.checked_mul(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn rules(align: u64, ways: u64) -> SizeRules {
        SizeRules { align, region_align: 16 * MIB, ways }
    }

    #[test]
    fn what_fits_is_taken_as_it_is() {
        for (size, rules) in [(GIB, rules(2 * MIB, 1)), (16 * MIB, rules(2 * MIB, 1)), (6 * GIB, rules(GIB, 6))] {
            assert_eq!(apply(size, &rules), Some(NdctlSize { size, refusal: None }));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_raised() {
        for (size, rules, next, reason) in [
            (GIB + 1, rules(2 * MIB, 1), GIB + 16 * MIB, "the region's align, 16 MiB"),
            (10 * GIB, rules(GIB, 6), 12 * GIB, "1 GiB x 6"),
            (0, rules(2 * MIB, 1), 16 * MIB, "less than 16 MiB"),
            (48 * MIB, rules(2 * MIB, 12), 48 * MIB, ""),
            (16 * MIB, rules(2 * MIB, 12), 48 * MIB, "2 MiB x 12"),
        ] {
            let got = apply(size, &rules).unwrap();
            assert_eq!(got.size, next);
            assert!(got.refusal.unwrap_or_default().contains(reason));
        }
    }

    #[test]
    fn nonsense_is_none() {
        assert_eq!(apply(u64::MAX, &rules(2 * MIB, 1)), None);
        assert_eq!(apply(GIB, &SizeRules { align: 0, region_align: 0, ways: 0 }), None);
        assert_eq!(apply(GIB, &rules(u64::MAX, 2)), None);
    }

    proptest! {
        #[test]
        fn the_answer_is_always_taken(size: u64, align in 12u32..31, ways in 1u64..16, region in 12u32..31) {
            let rules = SizeRules { align: 1 << align, region_align: 1 << region, ways };
            if let Some(outcome) = apply(size, &rules) {
                prop_assert!(outcome.size >= size);
                prop_assert_eq!(apply(outcome.size, &rules).unwrap().refusal, None);
            }
        }
    }
}
