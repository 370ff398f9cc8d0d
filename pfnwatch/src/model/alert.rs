//! An alert: labels that identify it, and annotations that describe it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

/// The identity of an alert, by the label's name. The set of labels is small and bounded.
pub type AlertLabels = BTreeMap<String, String>;

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// The subject.
    pub name: AlertName,
    /// Which one it is.
    pub labels: AlertLabels,
    /// `summary`, `description` and `runbook_url`.
    pub annotations: BTreeMap<String, String>,
}

impl Alert {
    /// An alert about this host (`instance`), and about one of its namespaces if `subject` has a label and a value.
    #[must_use]
    pub fn new(name: AlertName, instance: &str, subject: Option<(&str, String)>) -> Self {
        let usual = [("alertname", name.as_str()), ("instance", instance), ("severity", name.severity().as_str())];
        let mut labels: AlertLabels = usual.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
        labels.extend(subject.map(|(label, value)| (label.to_owned(), value)));
        Self { name, labels, annotations: BTreeMap::new() }
    }

    #[must_use]
    pub fn with_annotations(mut self, summary: String, description: String, runbook_url: String) -> Self {
        let texts = [("summary", summary), ("description", description), ("runbook_url", runbook_url)];
        self.annotations = texts.map(|(key, text)| (key.to_owned(), text)).into();
        self
    }

    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.labels.iter().map(|(label, value)| (&**label, &**value)))
    }

    #[must_use]
    pub fn annotation(&self, key: &str) -> &str {
        self.annotations.get(key).map_or("", String::as_str)
    }
}

/// The identity of an alert with these labels: 16 hexadecimal digits, the same as Alertmanager shows, in whatever order
/// the labels come (Prometheus' common/model: FNV-1a with 64 bits, each name and each value ended by 0xff).
pub fn fingerprint<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeMap<&str, &str> = labels.into_iter().collect();
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for byte in sorted.iter().flat_map(|(name, value)| [name, value]).flat_map(|text| text.bytes().chain([0xff])) {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{sum:016x}")
}

/// Deliveries to one receiver since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryStats {
    /// The receiver, by its name in the configuration.
    pub receiver: String,
    /// Messages that the receiver accepted.
    pub delivered: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Messages that were dropped: the receiver rejected them, or it was unreachable for too long.
    pub given_up: u64,
    /// Messages that were not sent because the alert began and ended before they could be.
    #[serde(default)]
    pub merged: u64,
    /// Messages that wait for it, in the event store.
    pub pending: u64,
    /// Why the last attempt failed; null once an attempt has succeeded.
    pub error: Option<String>,
}

/// Rules and silences are written against these names: they never change.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AlertName"))]
#[strum(prefix = "Pfnwatch")]
pub enum AlertName {
    /// New namespaces on this host cost more than under an earlier kernel.
    #[serde(rename = "PfnwatchCapacityRegression")]
    CapacityRegression,
    /// A namespace costs more than it did.
    #[serde(rename = "PfnwatchNamespaceRegression")]
    NamespaceRegression,
    /// A device of the dax bus lost capacity under a later kernel.
    #[serde(rename = "PfnwatchDeviceRegression")]
    DeviceRegression,
    /// A namespace costs more than it should.
    #[serde(rename = "PfnwatchNamespaceOversize")]
    NamespaceOversize,
    /// The kernel does not enable a namespace because of its info block or its place.
    #[serde(rename = "PfnwatchNamespaceRefused")]
    NamespaceRefused,
    /// The agent runs, and cannot observe.
    #[serde(rename = "PfnwatchBlind")]
    Blind,
    /// The mode is enforce, and oversize creations are not refused.
    #[serde(rename = "PfnwatchEnforceNotEffective")]
    EnforceNotEffective,
    /// A person has set another mode than the configuration's, and it is in force.
    #[serde(rename = "PfnwatchModeOverridden")]
    ModeOverridden,
    /// The guard refused creations.
    #[serde(rename = "PfnwatchCreationDenied")]
    CreationDenied,
    /// Some events in the kernel were not seen.
    #[serde(rename = "PfnwatchRecordsLost")]
    RecordsLost,
    /// The event store cannot save events.
    #[serde(rename = "PfnwatchStoreFailing")]
    StoreFailing,
    /// The evidence for the kernel's MAX_STRUCT_PAGE_SIZE is contradictory.
    #[serde(rename = "PfnwatchEvidenceConflict")]
    EvidenceConflict,
    /// The kernel did not return memmaps in DRAM that were removed since boot, or is suspected not to have.
    #[serde(rename = "PfnwatchMemmapNotReturned")]
    MemmapNotReturned,
    /// The configuration file is invalid, and an earlier configuration is in force.
    #[serde(rename = "PfnwatchPolicyInvalid")]
    PolicyInvalid,
    /// A test of whether alerts arrive.
    #[serde(rename = "PfnwatchTest")]
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// Act now: something that was requested is not done.
    Critical,
    Warning,
    Info,
}

impl AlertName {
    pub const ALL: &[Self] = Self::VARIANTS;

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::EnforceNotEffective => Severity::Critical,
            Self::CreationDenied | Self::Test => Severity::Info,
            Self::CapacityRegression
            | Self::NamespaceRegression
            | Self::DeviceRegression
            | Self::NamespaceOversize
            | Self::NamespaceRefused
            | Self::Blind
            | Self::ModeOverridden
            | Self::RecordsLost
            | Self::StoreFailing
            | Self::EvidenceConflict
            | Self::MemmapNotReturned
            | Self::PolicyInvalid => Severity::Warning,
        }
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsPolicy {
    /// The prefix of `runbook_url`, before the alert's name in lower case.
    pub runbook: String,
    pub receivers: Vec<Receiver>,
}

pub const RUNBOOK: &str = "file:///usr/share/doc/pfnwatch/runbook.md#";

impl Default for AlertsPolicy {
    fn default() -> Self {
        Self { runbook: RUNBOOK.to_owned(), receivers: Vec::new() }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    pub name: String,
    pub kind: ReceiverKind,
    /// Where messages are posted. It may hold a secret: it is never shown.
    pub url: String,
    /// Trusted certificate authorities, as a PEM file; without, those of this host.
    pub ca_file: Option<PathBuf>,
    /// Contains a token for each request; read for each message, so that it may be rotated.
    pub bearer_token_file: Option<PathBuf>,
    /// Limit of a whole attempt.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Alertmanager's API, version 2: firing alerts are sent again regularly, or it takes them for resolved.
    Alertmanager,
    /// One message of JSON for each alert that begins or ends.
    Webhook,
}

impl fmt::Debug for Receiver {
    /// Without the URL, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_does_not_change_the_identity() {
        let alert = Alert::new(AlertName::Blind, "host1", None);
        let said = alert.clone().with_annotations("a".to_owned(), "b".to_owned(), "c".to_owned());
        assert_eq!(alert.fingerprint(), said.fingerprint());
        // Of this crate's own making, for ever: receivers keep it.
        assert_eq!(alert.fingerprint(), "7ae928964878a223");
        let other = Alert::new(AlertName::Blind, "host2", None);
        let namespace = Alert::new(AlertName::Blind, "host1", Some(("namespace_uuid", "x".to_owned())));
        assert!(![other.fingerprint(), namespace.fingerprint()].contains(&alert.fingerprint()));
    }

    proptest! {
        #[test]
        fn the_order_of_labels_does_not_matter(labels in proptest::collection::btree_map("[a-z_]{1,8}", "\\PC{0,12}", 0..6)) {
            let forth = labels.iter().map(|(label, value)| (&**label, &**value));
            prop_assert_eq!(fingerprint(forth.clone()), fingerprint(forth.rev()));
        }

        #[test]
        fn other_labels_are_another_alert(
            one in proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..4),
            other in proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..4),
        ) {
            let of = |labels: &AlertLabels| fingerprint(labels.iter().map(|(label, value)| (&**label, &**value)));
            prop_assert_eq!(one == other, of(&one) == of(&other));
        }
    }

    #[test]
    fn the_label_is_what_is_stored() {
        for name in AlertName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
