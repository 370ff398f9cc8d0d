//! DRAM that the kernel does not return.

use serde::Serialize;

use super::{Actor, NamespaceId};
use crate::model::memmap_return::MemmapEvidence;

/// A memmap in DRAM was removed, and the kernel does not return it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemmapNotReturned {
    /// The namespace; absent if none is known at the range's address.
    #[serde(flatten)]
    pub namespace: Option<NamespaceId>,
    /// The device of the dax bus; absent if the range belongs to none that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Physical address of the first byte of the range whose memmap was removed.
    pub range_start_address: u64,
    /// Size of that range in bytes.
    pub range_size_bytes: u64,
    /// DRAM in bytes that held the memmap, page tables not counted.
    pub removed_bytes: u64,
    /// DRAM that the kernel returned, in bytes.
    pub returned_bytes: u64,
    /// DRAM that is lost until the next boot, in bytes.
    pub lost_bytes: u64,
    /// Whether these bytes are upper limits: the pieces of the memmap are not known, nor is where it was, or nobody saw its removal.
    pub at_most: bool,
    /// The evidence that the kernel does not return it. With `release` it is a suspicion.
    pub evidence: MemmapEvidence,
    /// The kernel's release.
    pub kernel: String,
    /// Who disabled the device.
    pub by: Option<Actor>,
}
