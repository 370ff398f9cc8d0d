//! Capacity regressions: what memmaps cost now, held against what they cost before.

use serde::Serialize;
use uuid::Uuid;

/// Something costs more than it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Regression {
    /// What costs more.
    #[serde(flatten)]
    pub subject: Subject,
    /// What it cost before.
    pub before: Cost,
    /// What it costs now.
    pub after: Cost,
}

/// What a regression is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum Subject {
    /// Whatever is made on this host from now on; costs are those of a namespace of 1 TiB.
    Host,
    /// One namespace.
    Namespace {
        /// `namespace0.0`, as it is named now.
        namespace: String,
        /// Its namespace uuid; none on legacy and e820 regions.
        namespace_uuid: Option<Uuid>,
        /// Physical address of its first byte.
        start_address: u64,
        /// Its size in bytes.
        size_bytes: u64,
    },
}

/// What something cost under a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The kernel's release.
    pub kernel: String,
    /// When that was known, in RFC 3339.
    pub seen: String,
    /// The reservation in bytes.
    pub reservation_bytes: u64,
    /// `sizeof(struct page)` in bytes.
    pub struct_page_size_bytes: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE in bytes, or what the block says it was made with.
    pub max_struct_page_size_bytes: Option<u64>,
}
