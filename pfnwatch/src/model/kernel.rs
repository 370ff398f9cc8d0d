//! Facts about a kernel.

use super::aligns::Aligns;

/// `memremap_compat_align()` in bytes: 2 MiB (SUBSECTION_SIZE, include/linux/mmzone.h) except on POWER with the hash
/// MMU.
pub const COMPAT_ALIGN: u64 = 2 << 20;

/// Facts about the kernel that do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    pub release: String,
    pub page_size: u64,
    /// `sizeof(struct page)` in bytes, if BTF has it.
    pub struct_page_size: Option<u64>,
    /// The kernel deduplicates the tail pages of a devdax memmap in DRAM; `None` if neither BTF nor the
    /// version shows it.
    pub deduplicates: Option<bool>,
    /// The kernel is suspected to lose a memmap in DRAM each time its device is disabled.
    pub may_lose_memmap: bool,
    /// `Some(false)` if its release shows that it refuses a block that leaves nothing usable.
    pub allows_empty: Option<bool>,
    /// The aligns that its architecture offers; a region's seeds show the kernel's own.
    pub aligns: Option<Aligns>,
}

#[cfg(test)]
impl KernelFacts {
    /// Linux 6.1 for x86_64, without a known defect.
    pub(crate) fn sample() -> Self {
        Self {
            release: "6.1.0".to_owned(),
            page_size: 4096,
            struct_page_size: Some(64),
            deduplicates: Some(true),
            may_lose_memmap: false,
            allows_empty: None,
            aligns: None,
        }
    }
}

/// The kernel's own count of memmaps made since boot, in DRAM and on the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemmapCounter {
    /// `nr_memmap_pages` of /proc/vmstat in bytes, the memmaps of namespaces with map=dev included.
    pub bytes: u64,
    /// This kernel may count a deduplicated memmap of devdax in full, as 6.17 and 6.18 do.
    pub may_overcount_deduplicated: bool,
}
