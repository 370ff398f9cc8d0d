//! The alerts for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets};

use crate::model::{
    alert::deliveries::DeliveryStats,
    control::{AlertsStatus, FiringAlertStatus, PendingMessage},
};

pub(super) fn render(are: &AlertsStatus) -> String {
    let mut text = String::new();
    if are.firing.is_empty() {
        text.push_str("no alert is firing\n");
    } else {
        text.push_str(&table(["ALERT", "SEVERITY", "SINCE", "ABOUT", "SUMMARY"], are.firing.iter().map(firing)));
        for alert in &are.firing {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{}: {}\n", alert.alert.name, alert.alert.annotation("description"));
        }
    }
    if are.omitted > 0 {
        let _ = write!(text, "\n{} more alerts are left out: `pfnwatch scan` shows all namespaces\n", are.omitted);
    }
    if are.receivers.is_empty() {
        text.push_str("\nnobody is told: no receiver is configured, see [[alerts.receivers]] in the configuration\n");
    } else {
        let head = ["RECEIVER", "DELIVERED", "FAILED", "GIVEN UP", "PENDING", "ERROR"];
        let _ = write!(text, "\n{}", table(head, are.receivers.iter().map(receiver)));
    }
    if !are.waiting.is_empty() {
        let head = ["WAITS FOR", "ALERT", "STATE", "ATTEMPTS", "SAVED"];
        let _ = write!(text, "\n{}", table(head, are.waiting.iter().map(waiting)));
    }
    text
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    format!("{}\n", table.trim_fmt())
}

fn firing(it: &FiringAlertStatus) -> [String; 5] {
    let label = |name: &str| it.alert.labels.get(name).cloned();
    let about = ["namespace_uuid", "start_address", "namespace"].into_iter().find_map(label);
    let severity = label("severity").unwrap_or_default();
    let summary = it.alert.annotation("summary").to_owned();
    [it.alert.name.to_string(), severity, it.since.clone(), about.unwrap_or_else(|| "this host".to_owned()), summary]
}

fn receiver(it: &DeliveryStats) -> [String; 6] {
    let [delivered, failed, given_up, pending] =
        [it.delivered, it.failed, it.given_up, it.pending].map(|count| count.to_string());
    [it.receiver.clone(), delivered, failed, given_up, pending, it.error.clone().unwrap_or_else(|| "-".to_owned())]
}

fn waiting(it: &PendingMessage) -> [String; 5] {
    let saved = if it.saved { "in the event store" } else { "in memory only" };
    [it.receiver.clone(), it.alert.clone(), it.state.clone(), it.attempts.to_string(), saved.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::{Alert, name::AlertName};

    #[test]
    fn what_stands_and_who_does_not_know() {
        assert!(render(&AlertsStatus::default()).starts_with("no alert is firing\n\nnobody is told"));
        let alert =
            Alert::new(AlertName::NamespaceOversize, "host1", Some(("start_address", "0x100000000".to_owned())));
        let alert = alert.with_annotations("it wastes 16 MiB".to_owned(), "16777216 bytes".to_owned(), String::new());
        let since = "2026-01-02T03:04:05Z".to_owned();
        let are = AlertsStatus {
            firing: vec![FiringAlertStatus { fingerprint: alert.fingerprint(), since, alert }],
            omitted: 44,
            receivers: vec![DeliveryStats { receiver: "am".to_owned(), pending: 1, ..DeliveryStats::default() }],
            waiting: vec![PendingMessage {
                receiver: "am".to_owned(),
                alert: "PfnwatchNamespaceOversize".to_owned(),
                fingerprint: "00".to_owned(),
                state: "firing".to_owned(),
                attempts: 3,
                saved: false,
            }],
        };
        let text = render(&are);
        for part in [
            "warning",
            "0x100000000",
            "it wastes 16 MiB",
            "PfnwatchNamespaceOversize: 16777216 bytes",
            "in memory only",
            "44 more alerts",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
