//! The table `[alerts]`: the receivers of the agent's own alerts.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use ureq::http::Uri;

use crate::model::alert::{AlertsPolicy, RUNBOOK, Receiver, ReceiverKind};

/// Each receiver may have a request in progress, in a thread of its own.
const MAX_RECEIVERS: usize = 16;

const MAX_NAME_CHARS: usize = 64;

/// Path of Alertmanager's API for alerts (its api/v2/openapi.yaml).
const ALERTS_PATH: &str = "/api/v2/alerts";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlertsConfig {
    #[serde(deserialize_with = "runbook")]
    runbook: String,
    #[serde(deserialize_with = "receivers")]
    receivers: Vec<Receiver>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { runbook: RUNBOOK.to_owned(), receivers: Vec::new() }
    }
}

impl From<AlertsConfig> for AlertsPolicy {
    fn from(AlertsConfig { runbook, receivers }: AlertsConfig) -> Self {
        Self { runbook, receivers }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(rename = "type")]
    kind: ReceiverKind,
    #[serde(deserialize_with = "url")]
    url: String,
    #[serde(default, deserialize_with = "file")]
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "file")]
    bearer_token_file: Option<PathBuf>,
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    timeout: Duration,
}

impl From<Table> for Receiver {
    fn from(Table { name, kind, url, ca_file, bearer_token_file, timeout }: Table) -> Self {
        let url = match kind {
            ReceiverKind::Alertmanager => {
                url.trim_end_matches('/').trim_end_matches(ALERTS_PATH).to_owned() + ALERTS_PATH
            }
            ReceiverKind::Webhook => url,
        };
        Self { name, kind, url, ca_file, bearer_token_file, timeout }
    }
}

fn receivers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Receiver>, D::Error> {
    let receivers: Vec<Receiver> = Vec::<Table>::deserialize(deserializer)?.into_iter().map(Receiver::from).collect();
    if receivers.len() > MAX_RECEIVERS {
        return Err(D::Error::custom(format!("more than {MAX_RECEIVERS} receivers")));
    }
    let is_double = |(at, it): &(usize, &Receiver)| receivers.iter().take(*at).any(|other| other.name == it.name);
    match receivers.iter().enumerate().find(is_double) {
        Some((_, double)) => Err(D::Error::custom(format!(
            "two receivers are called \"{}\": what waits for one is kept under its name",
            double.name
        ))),
        None => Ok(receivers),
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(name);
    }
    Err(D::Error::custom(format!(
        "name is {name:?}: use 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_` and `.`: it is a label of the metrics"
    )))
}

/// Errors do not quote the URL, which may hold a secret.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |why: &str| D::Error::custom(format!("url {why}: write it as in \"https://alerts.example.com:9093\""));
    let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err(D::Error::custom(
            "url contains a user or a password: put a token into a file and name it in bearer_token_file",
        )),
        Some(authority) if http && !authority.host().is_empty() => Ok(text),
        _ if http => Err(wrong("names no host")),
        _ => Err(wrong("must begin with http:// or https://")),
    }
}

fn runbook<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(D::Error::custom(
            "runbook must be what the addresses of the pages begin with, as \"https://wiki.example.com/pfnwatch#\"",
        ));
    }
    Ok(text)
}

fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() {
        return Ok(Some(path));
    }
    // Where the agent is started does not matter to a service.
    Err(D::Error::custom(format!("\"{}\" must be a whole path, from / on", path.display())))
}

const fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("timeout is \"{text}\": {error}")))?;
    if (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&time) {
        return Ok(time);
    }
    Err(D::Error::custom(format!("timeout is \"{text}\": it must be from 1s to 60s")))
}

#[cfg(test)]
mod tests;
