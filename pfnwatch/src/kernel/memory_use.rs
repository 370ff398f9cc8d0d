//! Free memory, and what the kernel counts of other uses.
//!
//! The kernel adds up what each CPU has counted once a second (`vm.stat_interval`): a number is right that long after a change. Pages
//! that were freed wait on lists of each CPU, which `MemFree` does not have.

use std::fs;

use crate::model::memmap_return::MemoryUse;
use crate::os::paths::Paths;

/// Counters of /proc/vmstat in pages. What none of them has is a driver's, or lost.
const OTHERS: [&str; 5] =
    ["nr_anon_pages", "nr_file_pages", "nr_slab_reclaimable", "nr_slab_unreclaimable", "nr_page_table_pages"];

impl MemoryUse {
    /// What procfs shows now; `None` if a number is missing.
    #[must_use]
    pub fn read(paths: &Paths, page_size: u64) -> Option<Self> {
        let text = |file| fs::read_to_string(paths.procfs.join(file)).ok();
        parse(&text("zoneinfo")?, &text("vmstat")?, page_size)
    }
}

fn parse(zones: &str, counters: &str, page_size: u64) -> Option<MemoryUse> {
    let is_free = |(name, pages)| (name == "nr_free_pages" || name == "count:").then_some(pages);
    let mut free = pairs(zones).filter_map(is_free).peekable();
    free.peek()?;
    let pages = free.try_fold(0_u64, u64::checked_add)?;
    let other = |name: &&str| {
        let pages = pairs(counters).find(|(found, _)| found == name)?.1;
        Some(((*name).to_owned(), pages.checked_mul(page_size)?))
    };
    let others = OTHERS.iter().map(other).collect::<Option<_>>()?;
    Some(MemoryUse { free: pages.checked_mul(page_size)?, others })
}

/// Lines of a name and a number.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, number) = line.trim().split_once(char::is_whitespace)?;
        Some((name, number.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONES: &str = "\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 5
  pages free     3840
        boost    0
      nr_free_pages 3840
  pagesets
    cpu: 0
              count: 0
              high:  0
Node 0, zone    DMA32
  pages free     500000
        protection: (0, 0, 0, 0)
      nr_free_pages 500000
  pagesets
    cpu: 0
              count: 63
              high:  1234
    cpu: 1
              count:    7
";
    const COUNTERS: &str = "nr_free_pages 9\nnr_anon_pages 1\nnr_file_pages 2\nnr_slab_reclaimable 3\n\
                            nr_slab_unreclaimable 4\nnr_page_table_pages 5\n";

    #[test]
    fn free_pages_have_those_on_the_lists_of_each_cpu() {
        let seen = parse(ZONES, COUNTERS, 4096).unwrap();
        assert_eq!(seen.free, (3840 + 500_000 + 63 + 7) * 4096);
        assert_eq!(seen.others.values().sum::<u64>(), 15 * 4096);
    }

    #[test]
    fn a_missing_number_is_no_answer() {
        assert_eq!(parse("", COUNTERS, 4096), None);
        assert_eq!(parse(ZONES, &COUNTERS.replace("nr_anon_pages", "nr_other"), 4096), None);
        assert_eq!(parse(&ZONES.replace("3840", "18446744073709551615"), COUNTERS, 4096), None);
    }
}
