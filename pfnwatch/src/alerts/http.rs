//! One request to a receiver. It blocks, and so is run in a thread of its own; whatever the other side does, it ends within
//! the receiver's timeout and keeps no more than a few kilobytes of the answer.

use std::{fs, io::Read as _, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Kind, Post, Receiver};

/// What is read of an answer, in bytes: enough to say what it says.
const READ: u64 = 4096;

/// What of that is shown, in characters.
const SHOWN: usize = 200;

/// What is read of a file with a token, in bytes.
const LONGEST_TOKEN: u64 = 64 << 10;

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has the message.
    Taken,
    /// It will never take this message.
    Refused(String),
    /// It did not take it now.
    Failed {
        /// Why.
        why: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
}

impl Outcome {
    /// It did not work this time.
    #[must_use]
    pub const fn failed(why: String) -> Self {
        Self::Failed { why, wait: None }
    }

    /// Whether the receiver has the message.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Taken)
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Taken => None,
            Self::Refused(why) | Self::Failed { why, .. } => Some(why),
        }
    }
}

/// Makes the request. Errors name no URL, which may hold a secret.
#[must_use]
pub fn post(receiver: &Receiver, post: &Post) -> Outcome {
    match answer(receiver, post) {
        Ok(mut response) => judge(receiver.kind, &mut response),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

fn answer(receiver: &Receiver, post: &Post) -> anyhow::Result<Response<Body>> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(receiver.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy of the environment's is not what the configuration says.
        .proxy(None)
        .max_idle_connections(0)
        .user_agent(concat!("pfnwatch/", env!("CARGO_PKG_VERSION")));
    if receiver.url.starts_with("https:") {
        config = config.tls_config(tls(receiver.ca_file.as_deref())?);
    }
    let mut request = Agent::from(config.build())
        .post(&receiver.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", &post.key);
    if let Some(file) = &receiver.bearer_token_file {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token(file)?));
    }
    request.send(&post.body).map_err(|error| match error {
        ureq::Error::Timeout(_) => anyhow::anyhow!("no answer within {} s", receiver.timeout.as_secs()),
        ureq::Error::BadUri(_) => anyhow::anyhow!("the url cannot be used"),
        error => anyhow::anyhow!("{error}"),
    })
}

fn tls(ca_file: Option<&Path>) -> anyhow::Result<TlsConfig> {
    let roots = match ca_file {
        Some(file) => certificates(file).with_context(|| format!("ca_file {}", file.display()))?,
        None => of_this_host()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCerts::Specific(Arc::new(roots));
    Ok(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build())
}

fn certificates(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = fs::read(file)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item? {
            found.push(certificate);
        }
    }
    if found.is_empty() { bail!("there is no certificate in it") } else { Ok(found) }
}

fn of_this_host() -> anyhow::Result<Vec<Certificate<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if let (true, Some(error)) = (found.certs.is_empty(), found.errors.first()) {
        bail!("this host's certificate authorities cannot be read: {error}; name a ca_file");
    }
    if found.certs.is_empty() {
        bail!("this host knows no certificate authority: install ca-certificates, or name a ca_file");
    }
    Ok(found.certs.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect())
}

fn token(file: &Path) -> anyhow::Result<String> {
    let shown = || format!("bearer_token_file {}", file.display());
    let mut text = String::new();
    fs::File::open(file).and_then(|it| it.take(LONGEST_TOKEN).read_to_string(&mut text)).with_context(shown)?;
    let token = text.trim();
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(token.to_owned()) } else { bail!("{}: no token of one line is in it", shown()) }
}

/// What an answer means. What is about the receiver, not about the message (a token that is not valid any more, a wrong
/// path, a proxy), may mend itself.
fn judge(kind: Kind, response: &mut Response<Body>) -> Outcome {
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let html = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    if status.is_success() && !(html && kind == Kind::Alertmanager) {
        return Outcome::Taken;
    }
    if status.is_success() {
        return Outcome::failed(format!(
            "it answered with a page for people: that is no Alertmanager{}",
            said(response)
        ));
    }
    if status.is_redirection() {
        return Outcome::failed(format!(
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
        return Outcome::Refused(format!("it answered {status}{}", said(response)));
    }
    Outcome::Failed { why: format!("it answered {status}{}", said(response)), wait: wait.map(Duration::from_secs) }
}

/// The beginning of an answer's body, as one line.
fn said(response: &mut Response<Body>) -> String {
    let mut bytes = Vec::new();
    // What came before an error is worth showing all the same.
    let _ = response.body_mut().as_reader().take(READ).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
