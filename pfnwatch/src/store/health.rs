//! How the journal stands.

use std::path::PathBuf;

/// How the journal stands.
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
