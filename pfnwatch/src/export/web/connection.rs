//! One connection: one request is read, and its reply written, all within a time limit.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use super::{
    reply,
    route::{self, Route},
    snapshot_cache::{Snapshot, SnapshotCache},
};
use crate::export::metrics::CONTENT_TYPE;

/// The limit of a request's head in bytes, and of its headers.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Limit for the request's head.
    pub(super) head: Duration,
    /// Limit for the whole connection.
    pub(super) whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), whole: Duration::from_secs(15) }
    }
}

/// Serves one connection. No behaviour of the peer is an error of ours.
pub(super) async fn serve(stream: TcpStream, moments: Arc<SnapshotCache>, limits: Limits) {
    let service = service_fn(|request| answer(request, &moments));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.whole, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a web client was not served: {error}"),
        Err(_) => tracing::debug!("a web client was too slow"),
    }
}

async fn answer(request: Request<Incoming>, moments: &SnapshotCache) -> Result<Response<Full<Bytes>>, Infallible> {
    let has_body = !request.body().is_end_stream();
    let wanted = match route::route(&request.into_parts().0, has_body, &moments.hosts) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok(reply::error(&refusal)),
    };
    Ok(match moments.snapshot().await {
        Some(moment) => respond(wanted, &moment),
        None => reply::unavailable("the agent's loop does not answer\n"),
    })
}

fn respond(wanted: Route, moment: &Snapshot) -> Response<Full<Bytes>> {
    match wanted {
        Route::Page => reply::page(moment.page()),
        Route::Metrics => reply::ok(CONTENT_TYPE, moment.metrics()),
        Route::Health => reply::ok(reply::PLAIN, "the agent's loop answers\n".into()),
        Route::Readiness => match super::health::readiness(&moment.shared.view) {
            Ok(words) => reply::ok(reply::PLAIN, words.into()),
            Err(why) => reply::unavailable(&why),
        },
    }
}
