//! One request to a receiver. It blocks, and so is run in a thread of its own; whatever the other side does, it ends within
//! the receiver's timeout and keeps no more than a few kilobytes of the answer.

use std::{io::Read as _, time::Duration};

use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::Payload;
use crate::export::http_client;
use crate::model::alert::receiver::{Receiver, ReceiverKind};

/// What is read of an answer, in bytes: enough to say what it says.
const MAX_RESPONSE_BYTES: u64 = 4096;

/// What of that is shown, in characters.
const MAX_QUOTED_CHARS: usize = 200;

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The receiver has the message.
    Delivered,
    /// It will never take this message.
    Rejected(String),
    /// It did not take it now.
    Failed {
        /// Why.
        why: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
}

impl DeliveryResult {
    /// It did not work this time.
    #[must_use]
    pub const fn failed(why: String) -> Self {
        Self::Failed { why, wait: None }
    }

    /// Whether the receiver has the message.
    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered)
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Rejected(why) | Self::Failed { why, .. } => Some(why),
        }
    }
}

/// Makes the request. Errors name no URL, which may hold a secret.
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

/// What an answer means. What is about the receiver, not about the message (a token that is not valid any more, a wrong
/// path, a proxy), may mend itself.
fn judge(kind: ReceiverKind, response: &mut Response<Body>) -> DeliveryResult {
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let html = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    if status.is_success() && !(html && kind == ReceiverKind::Alertmanager) {
        return DeliveryResult::Delivered;
    }
    if status.is_success() {
        return DeliveryResult::failed(format!(
            "it answered with a page for people: that is no Alertmanager{}",
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

/// The beginning of an answer's body, as one line.
fn quote_response(response: &mut Response<Body>) -> String {
    let mut bytes = Vec::new();
    // What came before an error is worth showing all the same.
    let _ = response.body_mut().as_reader().take(MAX_RESPONSE_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let line: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTED_CHARS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
