//! The rows and settings of the event store, and its health.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::model::capacity::Acceptance;
use crate::model::info_block::SavedInfoBlock;

/// The settings of the event store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file. `None` turns the store off.
    pub file: Option<PathBuf>,
    pub max_age: Duration,
    /// The limit of the file, in bytes.
    pub max_size_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file: Some(PathBuf::from(DEFAULT_PATH)),
            max_age: Duration::from_secs(365 * 24 * 60 * 60),
            max_size_bytes: 64 << 20,
        }
    }
}

/// The file unless configured otherwise.
pub(crate) const DEFAULT_PATH: &str = "/var/lib/pfnwatch/pfnwatch.db";

/// Whether the event store works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// The file. `None` if the configuration has turned the store off.
    pub file: Option<PathBuf>,
    /// Why it cannot be used. `None` if it works.
    pub error: Option<String>,
    pub events: u64,
    /// In bytes.
    pub size_bytes: u64,
    /// How many events were published uncommitted since the agent started.
    pub uncommitted: u64,
    /// How many of those were dropped since: the file will not have them.
    pub dropped: u64,
    /// A damaged file that was renamed since the agent started.
    pub set_aside: Option<PathBuf>,
    /// How many damaged files were deleted since the agent started, because there were too many.
    pub deleted_damaged: u64,
}

/// The facts of one boot. If libnvdimm was replaced during the boot, there is a row for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRow {
    pub boot_id: String,
    /// libnvdimm's build-id in hex. `None` if unknown.
    pub module_build_id: Option<String>,
    pub release: String,
    /// `sizeof(struct page)` in bytes.
    pub struct_page_size: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE in bytes.
    pub max_struct_page_size: Option<u64>,
    /// Whether it returns a memmap in DRAM when its device is disabled. `None` if unknown.
    pub memmap_returned: Option<bool>,
    /// The evidence, the strongest first.
    pub evidence: Vec<String>,
    /// When this was first observed.
    pub first_seen: SystemTime,
    /// When it was last observed.
    pub last_seen: SystemTime,
    /// Whether it is no baseline any more: a later cost was accepted.
    pub superseded: bool,
    /// Who has accepted its cost, if anybody has.
    pub accepted: Option<Acceptance>,
}

/// The info blocks in memory that are committed together with events.
pub trait UnsavedBlocks {
    /// The blocks that changed since the last commit.
    fn dirty(&self) -> impl Iterator<Item = &SavedInfoBlock>;
    /// All blocks are committed.
    fn mark_saved(&mut self);
    /// The store is a new file, without any block.
    fn mark_all_dirty(&mut self);
}
