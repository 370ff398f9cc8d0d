//! How pfnwatch talks HTTP to others: no proxy, no redirect, certificates as they are asked for, secrets from files alone.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use data_encoding::BASE64;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The limit of a file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// An HTTP agent for a URL, whose requests end within the timeout.
pub fn agent(url: &str, timeout: Duration, ca_file: Option<&Path>) -> anyhow::Result<Agent> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Only the configuration decides where requests go, not a proxy of the environment.
        .proxy(None)
        .max_idle_connections(0)
        .user_agent(concat!("pfnwatch/", env!("CARGO_PKG_VERSION")));
    if url.starts_with("https:") {
        config = config.tls_config(tls(ca_file)?);
    }
    Ok(Agent::from(config.build()))
}

pub fn bearer(file: &Path) -> anyhow::Result<String> {
    let shown = || format!("bearer_token_file {}", file.display());
    let token = secret(file).with_context(shown)?;
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(format!("Bearer {token}")) } else { bail!("{}: no token of one line is in it", shown()) }
}

pub fn basic(file: &Path) -> anyhow::Result<String> {
    let shown = || format!("basic_auth_file {}", file.display());
    let secret = secret(file).with_context(shown)?;
    let fits = secret.contains(':') && !secret.contains(char::is_control);
    anyhow::ensure!(fits, "{}: no `user:password` of one line is in it", shown());
    Ok(format!("Basic {}", BASE64.encode(secret.as_bytes())))
}

/// Why a request failed. Errors name no URL, which may hold a secret.
#[must_use]
pub fn explain(error: &ureq::Error, timeout: Duration) -> anyhow::Error {
    match error {
        ureq::Error::Timeout(_) => anyhow::anyhow!("no answer within {}", humantime::format_duration(timeout)),
        ureq::Error::BadUri(_) => anyhow::anyhow!("the url cannot be used"),
        error => anyhow::anyhow!("{error}"),
    }
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

fn secret(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(MAX_SECRET_BYTES).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}
