//! Where a new namespace would lie in a region of this host, and how large: what `ndctl create-namespace --size` makes of
//! a size, too.
//!
//! ndctl rounds nothing: `validate_namespace_options()` (ndctl/namespace.c, read in v81) refuses a size that is not a
//! multiple of the region's align, or of align × interleave ways, and for the latter proposes the next one that is.
//! Below 16 MiB it refuses too. The kernel asks for the region's align again (`__size_store()` in
//! drivers/nvdimm/namespace_devs.c).

use anyhow::{Context as _, bail};
use pfnwatch_common::Geometry;

use super::inverse;
use crate::model::exit::ExitContext;
use crate::model::inventory::{Inventory, Region};
use crate::model::units::Bytes;

/// The smallest namespace that is not raw.
pub(super) const MIN_NAMESPACE_BYTES: u64 = 16 << 20;

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
    let both = rules.step()?;
    let size = if refusal.is_some() { size.max(MIN_NAMESPACE_BYTES).checked_next_multiple_of(both)? } else { size };
    Some(NdctlSize { size, refusal })
}

impl SizeRules {
    /// What every size is a multiple of, if the rules make sense.
    pub(super) fn step(&self) -> Option<u64> {
        least_common_multiple(self.region_align, self.align.checked_mul(self.ways)?).filter(|step| *step > 0)
    }
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

/// Where a new namespace may lie.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The region's name; `None` for a place that was made up.
    region: Option<String>,
    /// The free extents, from the region's start on: the kernel takes the first that suffices (`scan_allocate()` in
    /// drivers/nvdimm/namespace_devs.c). `None` if an address is not known.
    pub(super) free: Option<Vec<FreeRange>>,
    /// Size in bytes of the largest free extent.
    largest: u64,
    /// Free bytes in all extents.
    available: u64,
    /// The region has no labels: it is one namespace as a whole.
    is_whole: bool,
    /// The region's first address; only root can read it.
    pub(super) region_start: Option<u64>,
    /// The region's align in bytes, if it has one.
    pub(super) region_align: Option<u64>,
    pub(super) ways: u64,
}

impl Site {
    /// A place of any size, at `start` if that is known.
    pub(super) fn anywhere(start: Option<u64>) -> Self {
        Self {
            region: None,
            free: start.map(|start| vec![FreeRange { start, size: u64::MAX }]),
            largest: u64::MAX,
            available: u64::MAX,
            is_whole: false,
            region_start: None,
            region_align: None,
            ways: 1,
        }
    }

    /// The free space of the region `name`.
    pub(super) fn in_region(inventory: &Inventory, name: &str) -> anyhow::Result<Self> {
        let Some(region) = inventory.regions.iter().find(|region| region.name == name) else {
            let known: Vec<_> = inventory.regions.iter().map(|region| region.name.as_str()).collect();
            bail!(ExitContext::usage(format!("there is no {name}: this host has {}", list(&known))));
        };
        let largest = largest(region).with_context(|| format!("{name}: how much is free cannot be read"))?;
        Ok(Self {
            region: Some(region.name.clone()),
            free: free_ranges(inventory, region),
            largest,
            available: region.available.clone().unwrap_or(largest).max(largest),
            is_whole: region.is_label_less(),
            region_start: region.resource.clone().ok(),
            region_align: region.align.clone().ok(),
            ways: region.ways(),
        })
    }

    /// Where the kernel puts a namespace of this size; `None` if no address is known.
    pub(super) fn start_of(&self, size: u64) -> Option<u64> {
        self.free.as_ref()?.iter().find(|range| range.size >= size).map(|range| range.start)
    }

    /// The size that was asked for, or all that is free.
    pub(super) fn size(&self, wanted: Option<u64>) -> anyhow::Result<u64> {
        let size = wanted.unwrap_or(self.largest);
        let Some(region) = &self.region else { return Ok(size) };
        if self.is_whole && size != self.largest {
            bail!(
                "{region} has no labels, so that it is one namespace of {} bytes ({}): omit the size",
                self.largest,
                Bytes(self.largest)
            );
        }
        if size > self.largest {
            bail!("{region} has no room for {}: its largest free stretch is {}", Bytes(size), Bytes(self.largest));
        }
        Ok(size)
    }

    /// What ndctl makes of a size, with the size to take if it refuses that: the next larger one, or the largest that is free.
    pub(super) fn as_ndctl(&self, size: u64, rules: &SizeRules) -> anyhow::Result<NdctlSize> {
        let none = || format!("ndctl accepts no size from {} on with this align", Bytes(size));
        let outcome = apply(size, rules).with_context(|| ExitContext::usage(none()))?;
        let Some(refusal) = outcome.refusal.as_ref().filter(|_| self.is_whole || outcome.size > self.largest) else {
            return Ok(outcome);
        };
        let region = self.region.as_deref().unwrap_or_default();
        if self.is_whole {
            let align = 1_u64.checked_shl(size.trailing_zeros()).unwrap_or(1);
            let remedy = if align >= rules.align {
                format!(": `echo {align} >/sys/bus/nd/devices/{region}/align` before ndctl can use all of it")
            } else {
                String::new()
            };
            bail!("{region} has no labels, so that it is one namespace, which ndctl refuses: {refusal}{remedy}");
        }
        let step = rules.step().with_context(none)?;
        let fitting = self.largest / step * step;
        if fitting < MIN_NAMESPACE_BYTES {
            bail!(
                "{region} has no space that ndctl accepts: {refusal}, and {} are free in one stretch",
                Bytes(self.largest)
            );
        }
        Ok(NdctlSize { size: fitting, ..outcome })
    }

    /// This share of what is free, in a size that ndctl takes.
    pub(super) fn percent(&self, percent: u64, rules: &SizeRules) -> anyhow::Result<u64> {
        let region = self.region.as_deref().unwrap_or_default();
        let step = rules.step().context("ndctl accepts no size with this align")?;
        let share = u128::from(self.available) * u128::from(percent) / 100;
        let size = u64::try_from(share).context("more than 64 bits")? / step * step;
        if size < MIN_NAMESPACE_BYTES {
            bail!("{percent} % of {region} are less than ndctl accepts: {} are free", Bytes(self.available));
        }
        self.size(Some(size))
    }

    /// The least size that ndctl takes and that leaves `usable` bytes, with the place where the kernel puts it. `template` has the
    /// rest of the geometry.
    pub(super) fn size_for_usable(
        &self,
        usable: u64,
        template: &Geometry,
        struct_page: u64,
        rules: &SizeRules,
    ) -> anyhow::Result<u64> {
        let unknown = [FreeRange { start: 0, size: self.largest }];
        // A stretch that is too small for what is needed there is passed over only by a size that it does not hold.
        let mut from = 0;
        for range in self.free.as_deref().unwrap_or(&unknown) {
            let geometry = Geometry { start: range.start, ..*template };
            let size = inverse::least_size(usable, &geometry, struct_page, rules, from);
            if let Some(size) = size.filter(|size| *size <= range.size) {
                return self.size(Some(size));
            }
            from = from.max(range.size.saturating_add(1));
        }
        let region = self.region.as_deref().unwrap_or("a namespace");
        bail!("{region} cannot have {} usable: its largest free stretch is {}", Bytes(usable), Bytes(self.largest))
    }
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

/// What is free, trimmed to the region's align at both ends (`space_valid()` in drivers/nvdimm/namespace_devs.c). `None` if an
/// address is not readable.
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
    let align = region.align.clone().unwrap_or(1).max(1);
    let trimmed = |from: u64, to: u64| {
        let first = from.saturating_sub(start).checked_next_multiple_of(align)?;
        let end = to.saturating_sub(start) / align * align;
        let size = end.checked_sub(first).filter(|size| *size > 0)?;
        Some(FreeRange { start: start.checked_add(first)?, size })
    };
    let mut free = Vec::new();
    let mut next = start;
    for stretch in taken {
        free.extend(trimmed(next, stretch.start));
        next = next.max(stretch.start.saturating_add(stretch.size));
    }
    let end = start.checked_add(region.size.clone().ok()?)?;
    free.extend(trimmed(next, end));
    Some(free)
}

#[cfg(test)]
mod tests {
    use pfnwatch_common::{KernelQuirks, Map, reservation};
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

    fn site(inventory: &Inventory) -> Site {
        Site::in_region(inventory, "region0").unwrap()
    }

    /// A region of this size with these attributes.
    fn region(size: u64, attributes: &[(&str, &str)]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.region(0, 4 * GIB, size).unwrap();
        tree.write("region0", attributes).unwrap();
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
        site(&Inventory::read(&roots).unwrap())
    }

    /// QEMU takes 2 MiB of labels off 4 GiB.
    #[test]
    fn a_region_without_labels_is_never_larger_than_it_is() {
        let less = region(4_292_870_144, &[("nstype", "4"), ("available_size", "0")]);
        let error = less.as_ndctl(less.size(None).unwrap(), &rules(2 * MIB, 1)).unwrap_err().to_string();
        assert!(error.contains("not a multiple of the region's align, 16 MiB"), "{error}");
        assert!(error.contains("echo 2097152 >/sys/bus/nd/devices/region0/align"), "{error}");
        let whole = region(4 * GIB, &[("nstype", "4"), ("available_size", "0")]);
        assert_eq!(whole.as_ndctl(whole.size(None).unwrap(), &rules(2 * MIB, 1)).unwrap().refusal, None);
        let error = whole.size(Some(GIB)).unwrap_err().to_string();
        assert!(error.contains("one namespace of 4294967296 bytes (4 GiB): omit the size"), "{error}");
        assert!(whole.percent(50, &rules(2 * MIB, 1)).is_err());
        assert_eq!(whole.percent(100, &rules(2 * MIB, 1)).unwrap(), 4 * GIB);
    }

    /// A piece of a memmap= range that crosses holes.
    #[test]
    fn a_region_of_16_kib_has_no_size_that_ndctl_takes() {
        let piece = region(16384, &[("nstype", "4"), ("available_size", "0")]);
        assert!(piece.as_ndctl(piece.size(None).unwrap(), &rules(2 * MIB, 1)).is_err());
        let labelled = region(16384, &[]);
        assert!(labelled.as_ndctl(16384, &rules(2 * MIB, 1)).is_err());
        assert!(region(8192, &[]).percent(50, &rules(2 * MIB, 1)).is_err());
    }

    #[test]
    fn what_is_proposed_is_free() {
        let site = region(64 * GIB, &[("max_available_extent", "1090519040"), ("available_size", "3221225472")]);
        let taken = site.as_ndctl(1_090_519_039, &rules(2 * MIB, 1)).unwrap();
        assert_eq!((taken.size, taken.refusal.is_some()), (1_090_519_040, true), "the next is all that is free");
        let taken = site.as_ndctl(1_090_519_039, &rules(GIB, 1)).unwrap();
        assert_eq!((taken.size, taken.refusal.is_some()), (GIB, true), "the next is not free");
        assert_eq!(site.percent(33, &rules(2 * MIB, 1)).unwrap(), 1_056_964_608, "of 3 GiB");
        assert!(site.percent(50, &rules(2 * MIB, 1)).is_err(), "not in one stretch");
    }

    /// 64 GiB at 4 GiB with one namespace of 254 MiB: the region's align is 16 MiB.
    #[test]
    fn gaps_are_trimmed_to_the_regions_align() {
        let inventory = inventory(&[(4 * GIB, 266_338_304)]);
        let start = site(&inventory).start_of(2 * GIB).unwrap();
        assert_eq!(start, 0x1_1000_0000);
        let devdax = Geometry { start, size: 2 * GIB, align: GIB, map: Map::Dev, page_size: 4096, compat: 2 * MIB };
        assert_eq!(reservation(&devdax, 64, KernelQuirks::default()).unwrap().dataoff, 768 * MIB);
    }

    #[test]
    fn the_first_stretch_that_suffices() {
        let inventory = inventory(&[(6 * GIB, 4 * GIB), (20 * GIB, 16 * GIB)]);
        for (size, start) in [(GIB, 4), (2 * GIB, 4), (8 * GIB, 10), (30 * GIB, 36)] {
            assert_eq!(site(&inventory).start_of(size), Some(start * GIB));
        }
        let site = site(&inventory);
        assert_eq!((site.size(None).unwrap(), site.ways, site.region_align), (64 * GIB, 1, Some(16 << 20)));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Site::in_region(&inventory(&[]), "region7").unwrap_err();
        assert!(error.to_string().contains("region0"), "{error}");
        assert_eq!(crate::model::exit::Exit::from_error(&error), crate::model::exit::Exit::Usage);
        let error = site(&inventory(&[])).size(Some(65 * GIB)).unwrap_err();
        assert!(error.to_string().contains("largest free stretch is 64 GiB"), "{error}");
    }
}
