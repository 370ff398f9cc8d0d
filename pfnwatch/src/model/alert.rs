//! An alert: labels that say which one it is, and annotations that say what it means.

pub mod deliveries;
pub mod name;
pub mod receiver;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::name::AlertName;

/// The identity of an alert, by the label's name. The set of labels is small and bounded.
pub type AlertLabels = BTreeMap<String, String>;

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// What it is about.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}
