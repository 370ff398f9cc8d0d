//! One moment of the agent, as all who ask within a second are shown it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::page;
use crate::export::metrics;
use crate::model::view::View;

/// A view is shown again for so long: a flood of requests causes no reads of sysfs.
const SNAPSHOT_TTL: Duration = Duration::from_secs(1);

/// How long the loop may take for a view before it counts as stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct ViewRequest(oneshot::Sender<View>);

impl ViewRequest {
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }

    /// A client that has gone meanwhile is no error.
    pub fn answer(self, view: View) {
        let _ = self.0.send(view);
    }
}

/// A view with its renderings, each made once, so that slow readers share one copy.
pub(super) struct Snapshot {
    at: Instant,
    pub(super) view: View,
    metrics: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
}

impl Snapshot {
    fn new(view: View) -> Self {
        Self { at: Instant::now(), view, metrics: OnceLock::new(), page: OnceLock::new() }
    }

    pub(super) fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| metrics::render(&metrics::of_view(&self.view)).into()).clone()
    }

    pub(super) fn page(&self) -> Bytes {
        self.page.get_or_init(|| page::render(&self.view).into()).clone()
    }
}

pub(super) struct SnapshotCache {
    calls: mpsc::Sender<ViewRequest>,
    /// Accepted values of `Host`.
    pub(super) hosts: Vec<String>,
    cached: Mutex<Option<Arc<Snapshot>>>,
}

impl SnapshotCache {
    pub(super) fn new(calls: mpsc::Sender<ViewRequest>, hosts: Vec<String>) -> Self {
        Self { calls, hosts, cached: Mutex::new(None) }
    }

    /// The current snapshot; `None` if the loop does not answer. Of simultaneous clients the first asks for all.
    pub(super) async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let mut last = self.cached.lock().await;
        if let Some(snapshot) = last.as_ref().filter(|snapshot| snapshot.at.elapsed() < SNAPSHOT_TTL) {
            return Some(snapshot.clone());
        }
        // Let go of before the next one is made: two at a time would cost twice the memory.
        *last = None;
        let snapshot = Arc::new(Snapshot::new(timeout(ANSWER_TIMEOUT, self.request_view()).await.ok()??));
        *last = Some(snapshot.clone());
        Some(snapshot)
    }

    /// Drops the last snapshot once it is too old to be shown again.
    pub(super) fn evict_stale(&self) {
        if let Ok(mut last) = self.cached.try_lock()
            && last.as_ref().is_some_and(|snapshot| snapshot.at.elapsed() >= SNAPSHOT_TTL)
        {
            *last = None;
        }
    }

    async fn request_view(&self) -> Option<View> {
        let (send, answer) = oneshot::channel();
        self.calls.send(ViewRequest(send)).await.ok()?;
        answer.await.ok()
    }
}
