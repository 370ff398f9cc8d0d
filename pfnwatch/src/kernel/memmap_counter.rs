//! The kernel's own count of memmaps: `nr_memmap_pages` of /proc/vmstat, since 6.11 (mm/sparse-vmemmap.c).

use std::fs;

use super::first_two;
use crate::model::kernel::{KernelFacts, MemmapCounter};
use crate::os::paths::Paths;

impl MemmapCounter {
    /// `None` if this kernel has no such counter, or /proc is not readable.
    #[must_use]
    pub fn read(paths: &Paths, kernel: &KernelFacts) -> Option<Self> {
        Self::parse(&fs::read_to_string(paths.procfs.join("vmstat")).ok()?, kernel)
    }

    fn parse(vmstat: &str, kernel: &KernelFacts) -> Option<Self> {
        let pages: u64 = vmstat.lines().find_map(|line| line.strip_prefix("nr_memmap_pages "))?.trim().parse().ok()?;
        // Right on 7.3.4, 4,096 pages for 1,024 on 6.17.13 and 6.18.15: nobody has looked at those between.
        let is_right = first_two(&kernel.release).is_some_and(|version| version >= (7, 3));
        Some(Self { bytes: pages.checked_mul(kernel.page_size)?, may_overcount_deduplicated: !is_right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_read_and_known_to_be_wrong_before_7_3() {
        let kernel = |release: &str| KernelFacts { release: release.to_owned(), ..KernelFacts::sample() };
        let vmstat = "nr_memmap_boot_pages 9\nnr_memmap_pages 4096\nnr_other 1\n";
        for (release, wrong) in [("6.17.13", true), ("6.18.15", true), ("7.3.4", false), ("next", true)] {
            let counter = MemmapCounter { bytes: 16 << 20, may_overcount_deduplicated: wrong };
            assert_eq!(MemmapCounter::parse(vmstat, &kernel(release)), Some(counter), "{release}");
        }
        for vmstat in ["", "nr_memmap_boot_pages 9\n", "nr_memmap_pages x", "nr_memmap_pages 18446744073709551615"] {
            assert_eq!(MemmapCounter::parse(vmstat, &kernel("6.1.0")), None, "{vmstat}");
        }
    }
}
