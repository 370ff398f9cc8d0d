//! The ring buffer as a source of records, awaited without polling.

use std::io;

use bytes::Bytes;
use tokio::io::unix::AsyncFd;

use crate::{bpf::ring::Ring, os::async_fd::readable};

/// Records taken at a time, so that a storm cannot keep a signal from being heard.
const MAX_BATCH: usize = 256;

/// A stream of records.
pub struct Source(AsyncFd<Ring>);

impl Source {
    /// Begins to wait on a ring buffer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system refuses to wait on it.
    pub fn new(ring: Ring) -> io::Result<Self> {
        readable(ring).map(Self)
    }

    /// Waits for records and moves some of them into `into`, which is empty only after a false alarm.
    ///
    /// # Errors
    /// Waiting failed.
    pub async fn wait(&mut self, into: &mut Vec<Bytes>) -> io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        drain_ring(ready.get_inner_mut(), into);
        // Only an empty ring is worth waiting on: the kernel tells of a record once.
        if into.len() < MAX_BATCH {
            ready.clear_ready();
        }
        Ok(())
    }

    /// Moves what is left into `into`, without waiting; false once there is nothing more.
    pub fn drain(&mut self, into: &mut Vec<Bytes>) -> bool {
        drain_ring(self.0.get_mut(), into);
        !into.is_empty()
    }
}

fn drain_ring(ring: &mut Ring, into: &mut Vec<Bytes>) {
    while into.len() < MAX_BATCH {
        match ring.take_record() {
            Some(record) => into.push(record),
            None => break,
        }
    }
}
