//! What became of the messages for a receiver.

/// What became of the alerts for one receiver since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryStats {
    /// The receiver, by its name in the configuration.
    pub receiver: String,
    /// How many messages it has taken.
    pub delivered: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many messages it will never take: it said so, or it was away for too long.
    pub given_up: u64,
    /// How many messages were not sent because the alert had begun and ended again before they could be.
    #[serde(default)]
    pub merged: u64,
    /// How many messages wait for it, in the event store.
    pub pending: u64,
    /// Why the last attempt failed; none once one has succeeded.
    pub error: Option<String>,
}
