//! Keeps the kernel's memory in motion: what was freed is handed out again at once, with other contents.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// Sizes of messages, each of which the kernel allocates in one piece: pieces of 2, 4 and 8 KiB. An info block in
/// memory (4 KiB and a head, by `devm_kzalloc`) is one of 8 KiB; a pfn or dax device one of 1 to 4 KiB.
const SIZES: [usize; 4] = [700, 1500, 3500, 7500];
const BATCH: usize = 8;

pub struct Churn {
    go_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Churn {
    pub fn start() -> Result<Self> {
        let (here, there) = UnixDatagram::pair().context("no pair of sockets")?;
        // A message that was not taken is not waited for.
        there.set_nonblocking(true).context("a socket that always waits")?;
        let go_on = Arc::new(AtomicBool::new(true));
        let wanted = Arc::clone(&go_on);
        let thread = thread::spawn(move || {
            let mut sink = [0; 8192];
            while wanted.load(Ordering::Relaxed) {
                for size in SIZES.into_iter().cycle().take(BATCH) {
                    let _ = here.send(&vec![0xa5; size]);
                }
                for _ in 0..BATCH {
                    let _ = there.recv(&mut sink);
                }
                // The work under test has to get on as well.
                thread::yield_now();
            }
        });
        Ok(Self { go_on, thread: Some(thread) })
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
