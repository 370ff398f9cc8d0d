//! One moment of the agent, as all who ask within a second are shown it.

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
use crate::{metrics, view::View};

/// For so long a view is shown again: a flood of requests costs no reads of sysfs.
const FRESH: Duration = Duration::from_secs(1);

/// How long the loop may take for a view before it counts as stuck.
const ANSWER: Duration = Duration::from_secs(5);

/// A question to the agent's loop: how does everything stand?
#[derive(Debug)]
pub struct Call(oneshot::Sender<View>);

impl Call {
    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }

    /// Answers. One who has gone meanwhile is no error.
    pub fn answer(self, view: View) {
        let _ = self.0.send(view);
    }
}

/// A view, and what was made of it: once, however many ask, so that slow readers share one copy.
pub(super) struct Moment {
    at: Instant,
    pub(super) view: View,
    metrics: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
}

impl Moment {
    fn now(view: View) -> Self {
        Self { at: Instant::now(), view, metrics: OnceLock::new(), page: OnceLock::new() }
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| metrics::render(&metrics::of_view(&self.view)).into()).clone()
    }

    /// The page for people.
    pub(super) fn page(&self) -> Bytes {
        self.page.get_or_init(|| page::render(&self.view).into()).clone()
    }
}

/// Where moments come from, and the last of them.
pub(super) struct Moments {
    calls: mpsc::Sender<Call>,
    /// The names that requests may come under.
    pub(super) hosts: Vec<String>,
    last: Mutex<Option<Arc<Moment>>>,
}

impl Moments {
    pub(super) fn new(calls: mpsc::Sender<Call>, hosts: Vec<String>) -> Self {
        Self { calls, hosts, last: Mutex::new(None) }
    }

    /// This moment; none where the loop does not answer. Of those who ask at the same time the first asks for all.
    pub(super) async fn now(&self) -> Option<Arc<Moment>> {
        let mut last = self.last.lock().await;
        if let Some(moment) = last.as_ref().filter(|moment| moment.at.elapsed() < FRESH) {
            return Some(moment.clone());
        }
        // Let go of before the next one is made: two at a time would cost twice the memory.
        *last = None;
        let moment = Arc::new(Moment::now(timeout(ANSWER, self.ask()).await.ok()??));
        *last = Some(moment.clone());
        Some(moment)
    }

    /// Gives up the last moment once it is too old to be shown again.
    pub(super) fn forget(&self) {
        if let Ok(mut last) = self.last.try_lock()
            && last.as_ref().is_some_and(|moment| moment.at.elapsed() >= FRESH)
        {
            *last = None;
        }
    }

    async fn ask(&self) -> Option<View> {
        let (send, answer) = oneshot::channel();
        self.calls.send(Call(send)).await.ok()?;
        answer.await.ok()
    }
}
