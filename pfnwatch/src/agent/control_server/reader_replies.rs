//! Replies to those who may only look: each request of theirs reaches the agent's loop at most as often as the web server's do.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::export::web::SNAPSHOT_TTL;
use crate::model::control::{Reply, Request};

/// The last reply to each request, as its line.
#[derive(Clone, Debug, Default)]
pub(super) struct ReaderReplies(Arc<Mutex<Vec<(Request, Instant, Bytes)>>>);

impl ReaderReplies {
    /// The line of the reply: of those who ask at the same time, the first asks for all.
    pub(super) async fn get(&self, request: Request, ask: impl Future<Output = Reply>) -> Bytes {
        let mut replies = self.0.lock().await;
        replies.retain(|(_, at, _)| at.elapsed() < SNAPSHOT_TTL);
        if let Some((.., reply)) = replies.iter().find(|(known, ..)| *known == request) {
            return reply.clone();
        }
        let reply = Bytes::from(ask.await.line());
        replies.push((request, Instant::now(), reply.clone()));
        reply
    }
}
