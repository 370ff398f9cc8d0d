//! From which excess on a reservation is oversize.

use pfnwatch_common::policy::is_oversize;
use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;

/// What counts as oversize: both limits must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// The struct page size of the ideal, in bytes.
    pub reference_struct_page: u64,
    /// More than this many times the align; at most `u32::MAX`.
    pub aligns: u64,
    /// More than this many millionths of the namespace; at most a million.
    pub parts_per_million: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { reference_struct_page: REFERENCE_STRUCT_PAGE, aligns: 1, parts_per_million: 1000 }
    }
}

impl Thresholds {
    /// Whether `excess` bytes of a namespace of `size` bytes are oversize: the guard's own rule.
    #[must_use]
    pub fn passed_by(&self, excess: u64, align: u64, size: u64) -> bool {
        is_oversize(excess, size, align, self.aligns, self.parts_per_million)
    }
}
