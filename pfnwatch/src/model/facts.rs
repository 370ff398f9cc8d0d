//! The facts that a verdict is made of: one namespace and the host it is on.

use pfnwatch_common::{InfoBlock, Map};
use thiserror::Error;

use crate::model::aligns::Aligns;
use crate::model::kernel::COMPAT_ALIGN;
use crate::model::memmap_return::MemmapVerdict;
use crate::model::timestamp::Timestamp;
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
    /// The block of a disabled namespace as it was last seen, and when.
    pub saved_block: Option<(InfoBlock, Timestamp)>,
    /// pfnwatch saw the running kernel make the block.
    pub observed: bool,
    /// Its driver is bound: the running kernel accepts it.
    pub enabled: bool,
    /// Its memory is in use as system RAM (dax_kmem).
    pub system_ram: bool,
    /// The kernel's refusal, from an event or from its messages of this boot.
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
            saved_block: None,
            observed: false,
            enabled: false,
            system_ram: false,
            refusal: None,
            obstacle: None,
        }
    }
}

/// What becomes of a namespace that a kernel before 6.6 makes with nothing usable (seen on 6.1.176).
pub const NOTHING_USABLE: &str = "nothing usable is left, and this kernel creates it nevertheless: an fsdax namespace without a byte can \
                                  panic the kernel when it is disabled, and kernels since 6.6 refuse it. Do not create it: use a larger one, or a smaller align";

/// Why the kernel does not set a namespace up. Quoted is what it logs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnableRefusal {
    /// The probe ended with this errno (positive), from an event.
    #[error("the kernel refused to set it up: errno {0}")]
    Errno(i32),
    #[error("the kernel would refuse it: {0}")]
    Formula(pfnwatch_common::Rejection),
    /// Neither map=mem (1) nor map=dev (2): -ENXIO.
    #[error("the mode {0} of its block is neither map=mem (1) nor map=dev (2)")]
    Mode(u32),
    /// The block was made with larger pages than the running kernel's.
    #[error(
        "its block was made with pages of {}, and this kernel has pages of {}: \"init failed, page size mismatch\"",
        Bytes(*.block), Bytes(*.kernel)
    )]
    PageSize { block: u64, kernel: u64 },
    /// The block reserves fewer bytes a page than the running kernel's `sizeof(struct page)`.
    #[error(
        "its block reserves {block} bytes for each page, and this kernel needs {kernel}: boot the kernel that made it, or \
         rebuild it: \"init failed, struct page size mismatch\""
    )]
    StructPage { block: u64, kernel: u64 },
    /// devdax with an align that the kernel does not offer.
    #[error("its align is {}, and this kernel offers {offered}: \"init failed, alignment mismatch\"", Bytes(*.align))]
    Align { align: u64, offered: Aligns },
    /// The align is larger than the namespace.
    #[error("its align ({}) exceeds its size ({}): \"alignment: … exceeds capacity\"", Bytes(*.align), Bytes(*.size))]
    AlignExceedsSize { align: u64, size: u64 },
    /// The reservation is larger than the namespace.
    #[error("its block reserves {} of its {}: \"pfn array size exceeds capacity\"", Bytes(*.dataoff), Bytes(*.size))]
    Capacity { dataoff: u64, size: u64 },
    /// The first usable byte is not a multiple of the align: the base of the namespace moved.
    #[error(
        "its first usable byte is no longer a multiple of its align ({}), the base has moved: \"bad offset: … dax disabled\"",
        Bytes(*.align)
    )]
    Moved { align: u64 },
    /// `dataoff` is not a multiple of the running kernel's page size.
    #[error("its dataoff {dataoff} is not a multiple of a page ({}): \"bad offset: … dax disabled\"", Bytes(*.page_size))]
    BrokenPage { dataoff: u64, page_size: u64 },
    /// `start + start_pad` is not a multiple of `memremap_compat_align()`.
    #[error("its start is not a multiple of {}: \"resource start misaligned\"", Bytes(*.compat))]
    StartMisaligned { compat: u64 },
    /// `end - end_trunc` is not a multiple of `memremap_compat_align()`.
    #[error("its end is not a multiple of {}: \"resource end misaligned\"", Bytes(*.compat))]
    EndMisaligned { compat: u64 },
    /// Nothing usable is left, which kernels since 6.6 refuse.
    #[error("its block leaves nothing usable: \"bad offset with small namespace\"")]
    Empty,
    /// Usable bytes would begin within the first 8 KiB: -EINVAL, without a message.
    #[error("its dataoff {dataoff} lies within the first 8 KiB, where the block itself is")]
    InHead { dataoff: u64 },
    /// A namespace without a block on a region whose namespaces are mapped whole (e820, virtio_pmem).
    #[error(
        "its start or its end is not a multiple of {}: \"misaligned, unable to map\" (a memmap= range that crosses holes \
         of the memory map is cut into such pieces)",
        Bytes(*.compat)
    )]
    MapMisaligned { compat: u64 },
    /// What the kernel logged when it refused to enable the namespace.
    #[error("{explanation}: \"{message}\" (kernel log{})", .time.as_ref().map_or(String::new(), |time| format!(" of {time}")))]
    Logged {
        explanation: String,
        message: String,
        /// In RFC 3339; `None` if the time of the boot is unknown.
        time: Option<String>,
    },
    /// What a saved block shows.
    #[error("{reason} (by its info block of {seen})")]
    OfSavedBlock { reason: Box<Self>, seen: Timestamp },
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// The namespace is not enabled, so that its block is not visible.
    #[error(
        "disabled, its info block cannot be seen: enable it, or read it with `ndctl read-infoblock`{}",
        .label.map_or(String::new(), |mode| format!(" (its label: {})", mode.as_str()))
    )]
    Disabled {
        /// What it is by its label.
        label: Option<NamespaceMode>,
    },
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
    /// The aligns that it offers.
    pub aligns: Option<Aligns>,
    /// The kernel deduplicates the tail pages of a devdax memmap in DRAM.
    pub deduplicates: Option<bool>,
    /// Whether it returns a memmap in DRAM when its device is disabled.
    pub memmap_return: MemmapVerdict,
}

impl KernelParameters {
    /// A kernel of which only the page size in bytes is known.
    #[must_use]
    pub const fn of_page_size(page_size: u64) -> Self {
        Self {
            page_size,
            compat: COMPAT_ALIGN,
            struct_page: None,
            max_struct_page: None,
            allows_empty: None,
            aligns: None,
            deduplicates: None,
            memmap_return: MemmapVerdict::Unknown,
        }
    }

    /// What map=mem costs besides, for the end of a sentence that offers it; empty if the kernel returns the memmap. A
    /// deduplicated memmap has no pieces of 2 MiB, which are what is lost.
    #[must_use]
    pub const fn memmap_loss(&self, deduplicated: bool) -> &'static str {
        match self.memmap_return {
            MemmapVerdict::NotReturned if !deduplicated => {
                " (this kernel loses that DRAM at each disable, until the next boot)"
            }
            MemmapVerdict::Suspected if !deduplicated => {
                " (this kernel is suspected to lose that DRAM at each disable, until the next boot)"
            }
            _ => "",
        }
    }
}

#[cfg(test)]
impl KernelParameters {
    /// A kernel of x86_64 without a known defect.
    pub(crate) const SAMPLE: Self = Self {
        struct_page: Some(64),
        max_struct_page: Some(64),
        allows_empty: Some(false),
        deduplicates: Some(true),
        memmap_return: MemmapVerdict::Returned,
        ..Self::of_page_size(4096)
    };
}
