//! What a request wants, or why it is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use crate::model::view::View;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Metrics,
    Health,
    Readiness,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpError {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl HttpError {
    const fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why }
    }
}

pub(super) fn route(request: &Parts, has_body: bool, hosts: &[String]) -> Result<Route, HttpError> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here"));
    }
    if has_body {
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "no request has a body here"));
    }
    check_host(request, hosts)?;
    match request.uri.path() {
        "/" => Ok(Route::Page),
        "/metrics" => Ok(Route::Metrics),
        "/healthz" => Ok(Route::Health),
        "/readyz" => Ok(Route::Readiness),
        _ => Err(HttpError::new(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz and /readyz")),
    }
}

/// Every host name in the request must be ours.
fn check_host(request: &Parts, hosts: &[String]) -> Result<(), HttpError> {
    let mut given = request.headers.get_all(HOST).iter();
    let host = match (given.next(), given.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        // Browsers always send one; HTTP/1.0 knew none.
        (None, None) if request.version == Version::HTTP_10 => "localhost",
        _ => return Err(HttpError::new(StatusCode::BAD_REQUEST, "a request has one Host")),
    };
    let in_uri = request.uri.authority().map_or(host, |authority| authority.as_str());
    if is_allowed(host, hosts) && is_allowed(in_uri, hosts) {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this host name is not allowed: use an address, or add the name to [web] hosts in the configuration",
    ))
}

pub(super) fn readiness(view: &View) -> Result<String, String> {
    let agent = &view.status.agent;
    match (view.ready(), agent.observing) {
        (Err(why), _) => Err(format!("not ready: {why}\n")),
        (Ok(()), true) => Ok("ready: the programs are attached and the namespaces are read\n".to_owned()),
        (Ok(()), false) => {
            Ok(format!("ready, and idle: {}\n", agent.reason.as_deref().unwrap_or("there is nothing to do")))
        }
    }
}

/// Whether a `Host` (`localhost:9464`, `[::1]:9464`, `db1.example.com`) is an address, `localhost`, or one of `names`,
/// which are in lower case.
///
/// A web page elsewhere can have its own name resolve to this host's address, and then read through a visitor's browser
/// what only this host may (DNS rebinding): but the request comes under that name.
fn is_allowed(host: &str, names: &[String]) -> bool {
    let Some(name) = host_name(host) else { return false };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || names.contains(&name)
}

/// Without the port; `None` if that is no number.
fn host_name(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            (port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
        }
        _ => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_names_of_the_configuration() {
        let names = ["db1.example.com".to_owned()];
        for host in
            ["127.0.0.1:9464", "10.0.0.7", "[::1]:9464", "[fe80::1]", "localhost:80", "LocalHost", "DB1.example.com."]
        {
            assert!(is_allowed(host, &names), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9464",
            "db1.example.com.evil.example",
            "[::1",
            "[::1]x",
            "::1",
            "127.0.0.1:9464:80",
            "127.0.0.1:x",
            "[evil.example]:80",
        ] {
            assert!(!is_allowed(host, &names), "{host}");
        }
    }
}
