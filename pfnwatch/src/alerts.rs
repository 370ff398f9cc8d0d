//! Alerts from the agent itself, for hosts that nobody scrapes.

/// What became of the alerts for one receiver since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The receiver, by its name in the configuration.
    pub receiver: String,
    /// How many messages it has taken.
    pub delivered: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many messages wait for it, in the journal.
    pub pending: u64,
    /// Why the last attempt failed; none once one has succeeded.
    pub error: Option<String>,
}
