//! The facts that a verdict is made of: one namespace and the host it is on.

use pfnwatch_common::{InfoBlock, Map};
use thiserror::Error;

use crate::model::units::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum NamespaceMode {
    /// A block device with DAX, with an info block.
    Fsdax,
    /// A character device with DAX, with an info block.
    Devdax,
    /// A block device with a block translation table: no memmap.
    Sector,
    /// A block device over the whole namespace: no memmap.
    Raw,
    /// fsdax without an info block, on e820 and legacy regions: mapped whole, with its memmap in DRAM.
    #[strum(serialize = "fsdax")]
    Whole,
}

impl NamespaceMode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub const fn reserves(self) -> bool {
        matches!(self, Self::Fsdax | Self::Devdax)
    }
}

#[must_use]
pub const fn map_name(map: Map) -> &'static str {
    match map {
        Map::Dev => "dev",
        Map::Mem => "mem",
    }
}

/// What is known of one namespace; sizes and addresses in bytes.
#[derive(Clone, Debug)]
pub struct Facts {
    pub mode: NamespaceMode,
    pub map: Option<Map>,
    /// Physical address of its first byte (root only).
    pub start: Option<u64>,
    pub size: Option<u64>,
    pub align: Option<u64>,
    /// Physical address of its first usable byte (root only).
    pub first_usable: Option<u64>,
    /// Its usable bytes.
    pub usable: Option<u64>,
    pub block: Option<InfoBlock>,
    /// pfnwatch saw the running kernel make the block.
    pub observed: bool,
    /// Its driver is bound: the running kernel accepts it.
    pub enabled: bool,
    /// Its memory is in use as system RAM (dax_kmem).
    pub system_ram: bool,
    /// The kernel's refusal, from an event.
    pub refusal: Option<EnableRefusal>,
    pub obstacle: Option<Obstacle>,
}

impl Facts {
    /// A namespace of which only the mode is known.
    #[must_use]
    pub const fn new(mode: NamespaceMode) -> Self {
        Self {
            mode,
            map: None,
            start: None,
            size: None,
            align: None,
            first_usable: None,
            usable: None,
            block: None,
            observed: false,
            enabled: false,
            system_ram: false,
            refusal: None,
            obstacle: None,
        }
    }
}

/// Why the kernel does not set a namespace up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnableRefusal {
    /// The probe ended with this errno (positive), from an event.
    #[error("the kernel refused to set it up: errno {0}")]
    Errno(i32),
    #[error("the kernel would refuse it: {0}")]
    Formula(pfnwatch_common::Rejection),
    /// The block reserves fewer bytes a page than the running kernel's `sizeof(struct page)`: -EOPNOTSUPP.
    #[error(
        "its block reserves {block} bytes for each page, and this kernel needs {kernel}: boot the kernel that made it, or rebuild it"
    )]
    StructPage { block: u64, kernel: u64 },
    /// The block was made with larger pages than the running kernel's: -EOPNOTSUPP.
    #[error("its block was made with pages of {}, and this kernel has pages of {}", Bytes(*.block), Bytes(*.kernel))]
    PageSize { block: u64, kernel: u64 },
    /// The first usable byte is not a multiple of the align: the base of the namespace moved.
    #[error("its first usable byte is no longer a multiple of its align ({}): the base has moved", Bytes(*.align))]
    Moved { align: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// The namespace is not enabled, so that its block is not visible.
    #[error("disabled, its info block cannot be seen: enable it, or read it with `ndctl read-infoblock`")]
    Disabled,
    #[error("locked: unlock the DIMM with `ndctl load-keys`")]
    Locked,
    #[error("it vanished while it was read: scan again")]
    Vanished,
    /// Only root can read what is needed.
    #[error("{0} is needed, which only root can read: run pfnwatch as root")]
    NeedsRoot(&'static str),
    /// A required attribute could not be read or is malformed; the text names it.
    #[error("{0}")]
    Unreadable(String),
    /// Two facts exclude each other; the text names them.
    #[error("{0}: conflicting evidence")]
    Conflict(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelParameters {
    /// PAGE_SIZE in bytes.
    pub page_size: u64,
    /// `memremap_compat_align()` in bytes.
    pub compat: u64,
    /// `sizeof(struct page)` in bytes.
    pub struct_page: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE in bytes.
    pub max_struct_page: Option<u64>,
    /// The kernel writes a block that leaves nothing usable, instead of refusing it.
    pub allows_empty: Option<bool>,
    /// The kernel deduplicates the tail pages of a devdax memmap in DRAM.
    pub deduplicates: Option<bool>,
    /// The kernel is suspected to lose a memmap in DRAM each time its device is disabled.
    pub may_lose_memmap: bool,
}

impl KernelParameters {
    /// What map=mem costs besides, for the end of a sentence that offers it; empty if the kernel returns the memmap. A
    /// deduplicated memmap has no pieces of 2 MiB, which are what is lost.
    #[must_use]
    pub const fn memmap_loss(&self, deduplicated: bool) -> &'static str {
        if self.may_lose_memmap && !deduplicated {
            " (this kernel is suspected to lose that DRAM at each disable, until the next boot)"
        } else {
            ""
        }
    }
}
