//! What a request wants, or why it is refused.

use hyper::{Method, StatusCode, Version, header::HOST, http::request::Parts};

use super::host;

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `/`
    Page,
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
}

/// A request that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why }
    }
}

/// Looks at a request.
///
/// # Errors
/// What is wrong with it.
pub(super) fn wanted(request: &Parts, has_body: bool, hosts: &[String]) -> Result<Wanted, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here"));
    }
    if has_body {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "no request has a body here"));
    }
    name(request, hosts)?;
    match request.uri.path() {
        "/" => Ok(Wanted::Page),
        "/metrics" => Ok(Wanted::Metrics),
        "/healthz" => Ok(Wanted::Health),
        "/readyz" => Ok(Wanted::Readiness),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz and /readyz")),
    }
}

/// Every name that the request gives us must be ours.
fn name(request: &Parts, hosts: &[String]) -> Result<(), Refusal> {
    let mut given = request.headers.get_all(HOST).iter();
    let host = match (given.next(), given.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        // Browsers always send one; HTTP/1.0 knew none.
        (None, None) if request.version == Version::HTTP_10 => "localhost",
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "a request has one Host")),
    };
    let in_uri = request.uri.authority().map_or(host, |authority| authority.as_str());
    if host::is_ours(host, hosts) && host::is_ours(in_uri, hosts) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this is not a name of pfnwatch's: ask by address, or add the name to [web] hosts in its configuration",
    ))
}
