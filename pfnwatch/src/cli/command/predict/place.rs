//! Where a new namespace would lie in a region of this host, and how large: what `ndctl create-namespace --size` makes of
//! a size, too.
//!
//! ndctl rounds nothing: `validate_namespace_options()` (ndctl/namespace.c, read in v81) refuses a size that is not a
//! multiple of the region's align, or of align × interleave ways, and for the latter proposes the next one that is.
//! Below 16 MiB it refuses too. The kernel asks for the region's align again (`__size_store()` in
//! drivers/nvdimm/namespace_devs.c).

use anyhow::{Context as _, bail};

use crate::model::exit::ExitContext;
use crate::model::inventory::{Inventory, Region};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FreeRange {
    pub(super) start: u64,
    pub(super) size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// First address; only root can read it.
    pub(super) start: Option<u64>,
    /// The requested size, or the largest that is free.
    pub(super) size: u64,
    /// The region's align in bytes, if it has one.
    pub(super) region_align: Option<u64>,
    pub(super) ways: u64,
}

/// Finds the place for `size` bytes, or for the largest free extent, in the region `name`.
pub(super) fn find(inventory: &Inventory, name: &str, size: Option<u64>) -> anyhow::Result<Placement> {
    let Some(region) = inventory.regions.iter().find(|region| region.name == name) else {
        let known: Vec<_> = inventory.regions.iter().map(|region| region.name.as_str()).collect();
        bail!(ExitContext::usage(format!("there is no {name}: this host has {}", list(&known))));
    };
    let largest = largest(region).with_context(|| format!("{name}: how much is free cannot be read"))?;
    let wanted = size.unwrap_or(largest);
    if wanted > largest {
        bail!("{name} has no room for {}: its largest free stretch is {}", Bytes(wanted), Bytes(largest));
    }
    let free = free_ranges(inventory, region);
    let start =
        free.and_then(|free| free.into_iter().find(|stretch| stretch.size >= wanted)).map(|stretch| stretch.start);
    Ok(Placement { start, size: wanted, region_align: region.align.clone().ok(), ways: region.ways() })
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no regions".to_owned() } else { names.join(", ") }
}

/// As ndctl does: a region without labels is taken whole, others up to their largest free extent.
fn largest(region: &Region) -> Option<u64> {
    if region.is_label_less() {
        return region.size.clone().ok();
    }
    region.max_available_extent.clone().or_else(|_| region.available.clone()).ok()
}

/// The free extents, from the region's start on: the kernel takes the first that suffices (`scan_allocate()` in
/// drivers/nvdimm/namespace_devs.c). `None` if an address is not readable.
fn free_ranges(inventory: &Inventory, region: &Region) -> Option<Vec<FreeRange>> {
    let start = region.resource.clone().ok()?;
    if region.is_label_less() {
        return Some(vec![FreeRange { start, size: region.size.clone().ok()? }]);
    }
    let mut taken = Vec::new();
    for namespace in inventory.namespaces.iter().filter(|namespace| namespace.region == region.name) {
        taken.push(FreeRange { start: namespace.resource.clone().ok()?, size: namespace.size.clone().ok()? });
    }
    taken.sort_unstable_by_key(|stretch| stretch.start);
    let mut free = Vec::new();
    let mut next = start;
    for stretch in taken {
        free.push(FreeRange { start: next, size: stretch.start.saturating_sub(next) });
        next = next.max(stretch.start.saturating_add(stretch.size));
    }
    let end = start.checked_add(region.size.clone().ok()?)?;
    free.push(FreeRange { start: next, size: end.saturating_sub(next) });
    Some(free)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sysfs::inventory::SysfsRoots;
    use crate::testing::tree::{Pmem, Tree};

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

    fn inventory(namespaces: &[(u64, u64)]) -> Inventory {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.region(0, 4 * GIB, 64 * GIB).unwrap();
        for (id, (start, size)) in (0..).zip(namespaces) {
            tree.namespace(&Pmem { id, start: *start, size: *size, ..Pmem::default() }).unwrap();
        }
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
        Inventory::read(&roots).unwrap()
    }

    #[test]
    fn the_first_stretch_that_suffices() {
        let inventory = inventory(&[(6 * GIB, 4 * GIB), (20 * GIB, 16 * GIB)]);
        for (size, start) in [(GIB, 4), (2 * GIB, 4), (8 * GIB, 10), (30 * GIB, 36)] {
            assert_eq!(find(&inventory, "region0", Some(size)).unwrap().start, Some(start * GIB));
        }
        let whole = find(&inventory, "region0", None).unwrap();
        assert_eq!((whole.size, whole.ways, whole.region_align), (64 * GIB, 1, Some(16 << 20)));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = find(&inventory(&[]), "region7", Some(GIB)).unwrap_err();
        assert!(error.to_string().contains("region0"), "{error}");
        assert_eq!(crate::model::exit::Exit::from_error(&error), crate::model::exit::Exit::Usage);
        let error = find(&inventory(&[]), "region0", Some(65 * GIB)).unwrap_err();
        assert!(error.to_string().contains("largest free stretch is 64 GiB"), "{error}");
    }
}
