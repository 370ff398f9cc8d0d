//! One request to a receiver. It blocks, and so is run in a thread of its own; whatever the other side does, it ends within
//! the receiver's timeout and keeps no more than a few kilobytes of the answer.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use crate::export::http_client;
use crate::model::alert::{Alert, AlertLabels, Receiver, ReceiverKind};
use crate::model::event::{SCHEMA, Time};

/// The limit of bytes of an answer that are read: enough for its message.
const MAX_RESPONSE_BYTES: u64 = 4096;

const MAX_QUOTED_CHARS: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    Delivered,
    /// Permanent: the receiver will never accept this message.
    Rejected(String),
    Failed {
        why: String,
        wait: Option<Duration>,
    },
}

impl DeliveryResult {
    #[must_use]
    pub const fn failed(why: String) -> Self {
        Self::Failed { why, wait: None }
    }

    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered)
    }

    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Rejected(why) | Self::Failed { why, .. } => Some(why),
        }
    }
}

/// Sends the request. Errors name no URL, which may hold a secret.
#[must_use]
pub fn post(receiver: &Receiver, post: &Payload) -> DeliveryResult {
    match answer(receiver, post) {
        Ok(mut response) => judge(receiver.kind, &mut response),
        Err(error) => DeliveryResult::failed(format!("{error:#}")),
    }
}

fn answer(receiver: &Receiver, post: &Payload) -> anyhow::Result<Response<Body>> {
    let agent = http_client::agent(&receiver.url, receiver.timeout, receiver.ca_file.as_deref())?;
    let mut request =
        agent.post(&receiver.url).header(header::CONTENT_TYPE, "application/json").header("idempotency-key", &post.key);
    if let Some(file) = &receiver.bearer_token_file {
        request = request.header(header::AUTHORIZATION, http_client::bearer(file)?);
    }
    request.send(&post.body).map_err(|error| http_client::explain(&error, receiver.timeout))
}

/// The result for an answer. Errors of the receiver rather than of the message (an expired token, a wrong path, a
/// proxy) are retried.
fn judge(kind: ReceiverKind, response: &mut Response<Body>) -> DeliveryResult {
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let html = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    if status.is_success() && !(html && kind == ReceiverKind::Alertmanager) {
        return DeliveryResult::Delivered;
    }
    if status.is_success() {
        return DeliveryResult::failed(format!(
            "it answered with a web page: this is not an Alertmanager{}",
            quote_response(response)
        ));
    }
    if status.is_redirection() {
        return DeliveryResult::failed(format!(
            "it answered {status}: redirects are not followed, put the right url into the configuration"
        ));
    }
    let passing = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if status.is_client_error() && !passing.contains(&status) {
        return DeliveryResult::Rejected(format!("it answered {status}{}", quote_response(response)));
    }
    DeliveryResult::Failed {
        why: format!("it answered {status}{}", quote_response(response)),
        wait: wait.map(Duration::from_secs),
    }
}

fn quote_response(response: &mut Response<Body>) -> String {
    let mut bytes = Vec::new();
    // What came before an error is worth showing all the same.
    let _ = response.body_mut().as_reader().take(MAX_RESPONSE_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let line: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTED_CHARS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

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
    /// Labels that identify the alert: `alertname`, `instance`, `severity`, and the namespace if it concerns one.
    labels: &'a AlertLabels,
    /// `summary`, `description` and `runbook_url`.
    annotations: &'a BTreeMap<String, String>,
    /// When it began to fire: RFC 3339 in UTC.
    starts_at: String,
    /// When it was resolved; null while it is firing.
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

#[cfg(test)]
mod tests;
