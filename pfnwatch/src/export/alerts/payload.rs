//! What a receiver is sent. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::alert::receiver::ReceiverKind;
use crate::model::alert::{Alert, AlertLabels};
use crate::model::event::{SCHEMA, Time};

/// How long Alertmanager keeps an alert that is not sent again: four times the resend interval.
pub(super) const ALERT_TTL: Duration = Duration::from_secs(8 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub receiver: String,
    pub alert: Alert,
    pub since: SystemTime,
    /// When it ended; `None` while it fires.
    pub ended: Option<SystemTime>,
}

impl Message {
    /// `firing` or `resolved`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.ended.is_some() { "resolved" } else { "firing" }
    }
}

/// The body of a request, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The same for each attempt with the same content, so that a receiver can drop duplicates.
    pub key: String,
    pub body: String,
}

/// Messages in the format of a receiver; a webhook gets one at a time.
#[must_use]
pub fn render(kind: ReceiverKind, messages: &[Message], now: SystemTime) -> Payload {
    let key = |it: &Message| format!("{}-{}-{}", it.alert.fingerprint(), micros(it.since), it.state());
    let body = match kind {
        ReceiverKind::Alertmanager => messages.iter().map(|message| for_alertmanager(message, now)).collect(),
        ReceiverKind::Webhook => messages.first().map(|it| json!(ForWebhook::from(it))).unwrap_or_default(),
    };
    Payload { key: messages.first().map(key).unwrap_or_default(), body: body.to_string() }
}

/// `postableAlert` of Alertmanager's api/v2/openapi.yaml.
fn for_alertmanager(message: &Message, now: SystemTime) -> Value {
    let until = message.ended.or_else(|| now.max(message.since).checked_add(ALERT_TTL)).unwrap_or(now);
    json!({
        "labels": message.alert.labels,
        "annotations": message.alert.annotations,
        "startsAt": time(message.since),
        "endsAt": time(until),
    })
}

/// What a webhook is sent for each alert that begins or ends.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ForWebhook<'a> {
    /// The version of this document.
    schema: u32,
    /// The alert's identity: 16 hexadecimal digits, the same as Alertmanager shows for these labels.
    fingerprint: String,
    /// `firing` or `resolved`.
    status: &'static str,
    /// What tells it from other alerts: `alertname`, `instance`, `severity`, and which namespace where it is about one.
    labels: &'a AlertLabels,
    /// `summary`, `description` and `runbook_url`.
    annotations: &'a BTreeMap<String, String>,
    /// Since when it stands, or stood: RFC 3339 in UTC.
    starts_at: String,
    /// When it ended; null where it stands.
    ends_at: Option<String>,
}

impl<'a> From<&'a Message> for ForWebhook<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            schema: SCHEMA,
            fingerprint: message.alert.fingerprint(),
            status: message.state(),
            labels: &message.alert.labels,
            annotations: &message.alert.annotations,
            starts_at: time(message.since),
            ends_at: message.ended.map(time),
        }
    }
}

fn time(time: SystemTime) -> String {
    Time(time).millis().to_string()
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()
}
