//! What a request wants, or why it is refused.

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use crate::export::web::host_header;

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
    if host_header::is_allowed(host, hosts) && host_header::is_allowed(in_uri, hosts) {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this is not a name of pfnwatch's: ask by address, or add the name to [web] hosts in its configuration",
    ))
}
