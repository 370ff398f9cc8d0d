//! One moment of the agent, as all who ask within a second are shown it: over the web, or as members of the readers' group over the
//! control socket.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout},
};

use super::page;
use crate::{export::metrics, model::view::View};

/// A view is shown again for so long: a flood of requests causes no reads of sysfs.
pub const SNAPSHOT_TTL: Duration = Duration::from_secs(1);

/// How long the loop may take for a view before it counts as stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A view, and when it was made.
#[derive(Clone, Debug)]
pub struct SharedView {
    pub view: Arc<View>,
    at: Instant,
}

impl SharedView {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < SNAPSHOT_TTL
    }
}

impl From<View> for SharedView {
    fn from(view: View) -> Self {
        Self { view: Arc::new(view), at: Instant::now() }
    }
}

/// The loop's last view.
#[derive(Debug, Default)]
pub struct ViewCache(Option<SharedView>);

impl ViewCache {
    /// The last view, if it may be shown again; otherwise it is dropped, before another one is made.
    pub fn fresh(&mut self) -> Option<SharedView> {
        self.0 = self.0.take().filter(SharedView::is_fresh);
        self.0.clone()
    }

    pub fn keep(&mut self, view: View) -> SharedView {
        self.0.insert(view.into()).clone()
    }
}

#[derive(Debug)]
pub struct ViewRequest(oneshot::Sender<SharedView>);

impl ViewRequest {
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }

    /// A client that has gone meanwhile is no error.
    pub fn answer(self, view: impl Into<SharedView>) {
        let _ = self.0.send(view.into());
    }
}

/// A view with its renderings, each made once, so that slow readers share one copy.
pub(super) struct Snapshot {
    pub(super) shared: SharedView,
    metrics: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
}

impl Snapshot {
    fn new(shared: SharedView) -> Self {
        Self { shared, metrics: OnceLock::new(), page: OnceLock::new() }
    }

    pub(super) fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| metrics::render(&metrics::of_view(&self.shared.view)).into()).clone()
    }

    pub(super) fn page(&self) -> Bytes {
        self.page.get_or_init(|| page::render(&self.shared.view).into()).clone()
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
        if let Some(moment) = last.as_ref().filter(|moment| moment.shared.is_fresh()) {
            return Some(moment.clone());
        }
        // Let go of before the next one is made: two at a time would cost twice the memory.
        *last = None;
        let moment = Arc::new(Snapshot::new(timeout(ANSWER_TIMEOUT, self.request_view()).await.ok()??));
        *last = Some(moment.clone());
        Some(moment)
    }

    /// Drops the last snapshot once it is too old to be shown again.
    pub(super) fn evict_stale(&self) {
        if let Ok(mut last) = self.cached.try_lock()
            && last.as_ref().is_some_and(|moment| !moment.shared.is_fresh())
        {
            *last = None;
        }
    }

    async fn request_view(&self) -> Option<SharedView> {
        let (send, answer) = oneshot::channel();
        self.calls.send(ViewRequest(send)).await.ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::view::healthy;

    #[tokio::test]
    async fn a_view_is_made_once_a_second_for_all_who_ask() {
        let mut views = ViewCache::default();
        assert!(views.fresh().is_none());
        let made = views.keep(healthy());
        let shown = views.fresh().map(|shown| shown.view);
        assert!(shown.is_some_and(|shown| Arc::ptr_eq(&shown, &made.view)));
        // The web shows it no longer than others do.
        let (send, mut calls) = mpsc::channel(1);
        let cache = SnapshotCache::new(send, Vec::new());
        tokio::time::sleep(SNAPSHOT_TTL / 2).await;
        let (_, snapshot) =
            tokio::join!(async { calls.recv().await.unwrap().answer(views.fresh().unwrap()) }, cache.snapshot());
        assert!(Arc::ptr_eq(&snapshot.unwrap().shared.view, &made.view));
        tokio::time::sleep(SNAPSHOT_TTL / 2).await;
        assert!(views.fresh().is_none());
        cache.evict_stale();
        assert!(cache.cached.lock().await.is_none());
    }
}
