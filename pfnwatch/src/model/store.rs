//! The rows and settings of the event store, and its health.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::model::{capacity::Acceptance, info_block::SavedInfoBlock};

/// What the configuration says of the event store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; none where there is to be no event store.
    pub file: Option<PathBuf>,
    /// How long an event is kept.
    pub max_age: Duration,
    /// How large the file may grow, in bytes.
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

/// Where it is unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/var/lib/pfnwatch/pfnwatch.db";

/// How the event store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// The file; none where the configuration has turned it off.
    pub file: Option<PathBuf>,
    /// Why it takes nothing; none where it does.
    pub error: Option<String>,
    /// How many events are in it.
    pub events: u64,
    /// How large it is, in bytes.
    pub size_bytes: u64,
    /// How many events the sinks were given uncommitted, since the agent started.
    pub uncommitted: u64,
    /// A damaged file that was set aside since the agent started.
    pub set_aside: Option<PathBuf>,
}

/// The facts of one boot. Where libnvdimm was replaced in the course of it, there is one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRow {
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: String,
    /// libnvdimm's build-id in hex, where it is known.
    pub module_build_id: Option<String>,
    /// The kernel's release.
    pub release: String,
    /// `sizeof(struct page)` in bytes.
    pub struct_page_size: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE in bytes.
    pub max_struct_page_size: Option<u64>,
    /// What says so, the strongest first.
    pub evidence: Vec<String>,
    /// When this was first known.
    pub first_seen: SystemTime,
    /// When it last was.
    pub last_seen: SystemTime,
    /// Whether nothing is held against it any more.
    pub set_aside: bool,
    /// Who has accepted what it costs, where somebody has.
    pub accepted: Option<Acceptance>,
}

/// The info blocks in memory that are committed together with events.
pub trait UnsavedBlocks {
    /// The blocks that changed since the last commit.
    fn dirty(&self) -> impl Iterator<Item = &SavedInfoBlock>;
    /// The store has all of them.
    fn mark_saved(&mut self);
    /// The store has none of them any more: it is a new file.
    fn mark_all_dirty(&mut self);
}
