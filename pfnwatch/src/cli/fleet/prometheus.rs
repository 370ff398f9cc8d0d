//! The fleet as Prometheus knows it (or what scales it: Thanos, Mimir), by its query API.

mod hosts;
mod readiness;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

pub use self::hosts::add;
pub use self::readiness::{Readiness, Reason, readiness};
use crate::export::http_client;

/// The largest answer that is read, in bytes: 100,000 series have some 30 MB.
const MAX_RESPONSE_BYTES: u64 = 512 << 20;
/// The part of an unexpected answer that is shown, in characters.
const MAX_QUOTED_CHARS: usize = 200;

#[derive(Clone, Debug)]
pub struct Client {
    /// `http://host:9090`, or with a path before `/api/v1`.
    pub url: String,
    pub bearer_token_file: Option<PathBuf>,
    /// Holds `user:password`.
    pub basic_auth_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
    pub at: SystemTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    pub samples: Vec<Sample>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct ApiResponse {
    status: String,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// Cluster, job, instance: the identity of an agent.
type Key = (String, String, String);

impl Sample {
    fn key(&self) -> Key {
        let label = |name| self.label(name).to_owned();
        (label("cluster"), label("job"), label("instance"))
    }

    /// A label's value; empty without one, as in Prometheus.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The value as a count or as bytes; `None` if it is no such number (NaN, for instance).
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        // A float's digits are exact, and no cast is needed.
        let fits = self.value.is_finite() && self.value >= 0.0;
        fits.then(|| format!("{:.0}", self.value).parse().ok()).flatten()
    }
}

impl Client {
    pub fn query(&self, expression: &str) -> anyhow::Result<QueryResult> {
        self.fetch(expression).with_context(|| format!("Prometheus was asked for `{expression}`"))
    }

    fn fetch(&self, expression: &str) -> anyhow::Result<QueryResult> {
        let agent = http_client::agent(&self.url, self.timeout, self.ca_file.as_deref())?;
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = agent.post(&format!("{}/api/v1/query", self.url.trim_end_matches('/')));
        if let Some(authorization) = self.authorization()? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let form = [("query", expression), ("time", &at.to_string())];
        let sent = request.send_form(form);
        let mut response = sent.map_err(|error| http_client::explain(&error, self.timeout))?;
        let (status, location) = (response.status(), location(&response));
        let text = self.read(response.body_mut().as_reader()).context("its answer broke off")?;
        check_status(status, location.as_deref(), &text)
    }

    /// A timeout while reading the body is an I/O error with ureq's own error inside.
    fn read(&self, body: impl Read) -> anyhow::Result<String> {
        let mut text = String::new();
        match body.take(MAX_RESPONSE_BYTES + 1).read_to_string(&mut text) {
            Ok(read) if u64::try_from(read)? <= MAX_RESPONSE_BYTES => Ok(text),
            Ok(_) => bail!("it is larger than {} MiB", MAX_RESPONSE_BYTES >> 20),
            Err(error) => Err(http_client::explain(&error.into(), self.timeout)),
        }
    }

    fn authorization(&self) -> anyhow::Result<Option<String>> {
        match (&self.bearer_token_file, &self.basic_auth_file) {
            (Some(file), _) => http_client::bearer(file).map(Some),
            (None, Some(file)) => http_client::basic(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn location(response: &Response<Body>) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?;
    Some(location.to_str().ok()?.to_owned())
}

/// The answer by its status first: a proxy before Prometheus has pages of its own.
fn check_status(status: StatusCode, location: Option<&str>, text: &str) -> anyhow::Result<QueryResult> {
    let remedy = match status {
        _ if status.is_success() => return parse(text),
        _ if status.is_redirection() => match location {
            Some(place) => format!("it redirects to {place}, which is not followed: name the URL that answers"),
            None => "it redirects, which is not followed: name the URL that answers".to_owned(),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "it rejects the credentials: is --bearer-token-file or --basic-auth-file right?".to_owned()
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "there is no query API: the URL is the part before /api/v1".to_owned()
        }
        // Prometheus answers a wrong query in the same form as a right one.
        _ => match parse(text) {
            Err(error) => return Err(error.context(format!("it answered {status}"))),
            Ok(_) => "and sent data nevertheless, which is not used".to_owned(),
        },
    };
    bail!("it answered {status}: {remedy}")
}

fn parse(text: &str) -> anyhow::Result<QueryResult> {
    let Ok(reply) = serde_json::from_str::<ApiResponse>(text) else {
        let start: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTED_CHARS).collect();
        bail!("this is not a complete answer of Prometheus' query API; it begins with: {start}");
    };
    if reply.status != "success" {
        bail!("{}", reply.error.unwrap_or(reply.status));
    }
    let data = reply.data.context("there is no data in it")?;
    anyhow::ensure!(data.result_type == "vector", "it is a {}, not a vector", data.result_type);
    let sample = |series: Series| {
        let value = series.value.1.parse().with_context(|| format!("`{}` is not a number", series.value.1))?;
        Ok(Sample { labels: series.metric, value })
    };
    let samples = data.result.into_iter().map(sample).collect::<anyhow::Result<_>>()?;
    Ok(QueryResult { samples, warnings: reply.warnings })
}
