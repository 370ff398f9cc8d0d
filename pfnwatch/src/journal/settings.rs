//! Where the journal is, and how much it keeps.

use std::{path::PathBuf, time::Duration};

/// Where it is unless told otherwise.
pub(crate) const USUAL: &str = "/var/lib/pfnwatch/pfnwatch.db";

/// What the configuration says of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; none where there is to be no journal.
    pub file: Option<PathBuf>,
    /// How long an event is kept.
    pub max_age: Duration,
    /// How large the file may grow, in bytes.
    pub max_size_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file: Some(PathBuf::from(USUAL)),
            max_age: Duration::from_secs(366 * 24 * 60 * 60),
            max_size_bytes: 64 << 20,
        }
    }
}
