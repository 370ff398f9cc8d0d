//! What came of records and events: how many, what was missed, the event store, alerts, and regressions.

use super::encode::Family;
use crate::model::{
    alert::deliveries::DeliveryStats,
    capacity::{Regression, RegressionSubject},
    event::RecordTotals,
    view::View,
};

pub(super) fn families(view: &View) -> Vec<Family> {
    let mut families = records(&view.status.records);
    let events = view.events.iter().map(|(kind, count)| ((*kind).to_owned(), *count));
    families.push(
        Family::counter("pfnwatch_events", "Events since the agent started, by their kind.").each("event", events),
    );
    families.extend(store(view));
    families.extend(alerts(&view.alerts));
    families.extend(regressions(view));
    families
}

/// Losses are counted even if the event that reports them is lost too.
fn records(records: &RecordTotals) -> Vec<Family> {
    let missed = records.missed;
    let reasons = [
        ("ring_full", missed.lost),
        ("read_fault", missed.read_faults),
        ("table_full", missed.table_full),
        ("unpaired", missed.unpaired),
        ("guard_fault", missed.guard_faults),
        ("block_missed", missed.blocks_missed),
    ];
    let reasons = reasons.map(|(reason, count)| (reason.to_owned(), count));
    vec![
        Family::counter("pfnwatch_records_received", "Records received from the kernel's side.")
            .value(records.received),
        Family::counter("pfnwatch_record_decode_errors", "Records that could not be decoded.")
            .value(records.decode_errors),
        Family::counter("pfnwatch_records_missed", "What the kernel's side lost or could not complete.")
            .each("reason", reasons),
    ]
}

fn store(view: &View) -> Vec<Family> {
    let store = &view.store;
    let uncommitted = Family::counter("pfnwatch_events_uncommitted", "Events that sinks were given uncommitted.");
    // Neither a file nor a fault: it is turned off.
    if store.file.is_none() && store.error.is_none() {
        return Vec::new();
    }
    vec![
        Family::gauge("pfnwatch_store_up", "1 where the event store takes events.").value(store.error.is_none()),
        Family::gauge("pfnwatch_store_events", "Events in the event store.").value(store.events),
        Family::gauge("pfnwatch_store_size_bytes", "Size of the event store's file.").value(store.size_bytes),
        uncommitted.value(store.uncommitted),
    ]
}

fn alerts(all: &[DeliveryStats]) -> [Family; 5] {
    let attempts = Family::counter("pfnwatch_alert_deliveries", "Attempts to deliver a message, by what came of them.");
    let attempts = all.iter().fold(attempts, |family, it| {
        let labels = |outcome: &str| vec![("receiver", it.receiver.clone()), ("outcome", outcome.to_owned())];
        family.with(labels("delivered"), it.delivered).with(labels("failed"), it.failed)
    });
    let given_up = Family::counter("pfnwatch_alert_messages_given_up", "Messages that the receiver will never take.");
    let given_up =
        all.iter().fold(given_up, |family, it| family.with(vec![("receiver", it.receiver.clone())], it.given_up));
    let merged = all.iter().map(|it| (it.receiver.clone(), it.merged));
    let pending = all.iter().map(|it| (it.receiver.clone(), it.pending));
    let up = all.iter().map(|it| (it.receiver.clone(), it.error.is_none()));
    [
        attempts,
        given_up,
        Family::counter(
            "pfnwatch_alert_messages_merged",
            "Messages that were not sent because the alert had begun and ended again before they could be.",
        )
        .each("receiver", merged),
        Family::gauge("pfnwatch_alert_messages_pending", "Messages that wait for the receiver.")
            .each("receiver", pending),
        Family::gauge("pfnwatch_alert_receiver_up", "0 where the last attempt failed.").each("receiver", up),
    ]
}

fn regressions(view: &View) -> [Family; 2] {
    let (host, namespaces): (Vec<_>, Vec<_>) =
        view.regressions.iter().partition(|it| it.subject == RegressionSubject::Host);
    let by_subject = [("host", host), ("namespace", namespaces)];
    let lost = |all: &[&Regression]| all.iter().map(|it| it.lost_bytes()).fold(0, u64::saturating_add);
    let counts = by_subject.iter().map(|(subject, all)| ((*subject).to_owned(), all.len()));
    let bytes = by_subject.iter().map(|(subject, all)| ((*subject).to_owned(), lost(all)));
    [
        Family::gauge("pfnwatch_capacity_regressions", "Capacity regressions that stand.").each("subject", counts),
        Family::gauge(
            "pfnwatch_capacity_regressed_bytes",
            "What is reserved more than before: in all namespaces, and for the host in one of 1 TiB to come.",
        )
        .each("subject", bytes),
    ]
}
