//! The ring buffer as a source of records, awaited without polling.

use std::io;
use std::task::{self, Poll};

use bytes::Bytes;
use tokio::io::unix::AsyncFd;

use crate::bpf::ring::Ring;
use crate::os::async_fd::readable;

/// The limit of records taken at once, so that a storm does not delay signals.
const MAX_BATCH: usize = 256;

pub struct Source(AsyncFd<Ring>);

impl Source {
    /// Registers a ring buffer. Must be called within a tokio runtime.
    pub fn new(ring: Ring) -> io::Result<Self> {
        readable(ring).map(Self)
    }

    /// Waits for records and moves some into `into`, which stays empty only after a false wake-up.
    pub fn poll_wait(&mut self, context: &mut task::Context<'_>, into: &mut Vec<Bytes>) -> Poll<io::Result<()>> {
        let mut ready = task::ready!(self.0.poll_read_ready_mut(context))?;
        drain_ring(ready.get_inner_mut(), into);
        // Wait only on an empty ring: the kernel signals a record once.
        if into.len() < MAX_BATCH {
            ready.clear_ready();
        }
        Poll::Ready(Ok(()))
    }

    /// Moves the remaining records into `into`, without waiting; false once there are none.
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
