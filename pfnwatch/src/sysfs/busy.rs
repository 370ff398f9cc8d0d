//! Reads of sysfs that do not wait for a device which the kernel is binding.
//!
//! Some attributes take their device's lock, which a bind holds while it initializes the memmap: 23 s for 256 GiB under
//! emulation. Others wait until no bind is under way. Neither wait can be interrupted. So a thread reads, and if it is stuck,
//! the caller continues without it: the device counts as busy, and is skipped, until that thread returns.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use nix::unistd::{Pid, gettid};

use crate::model::inventory::{Attribute, AttributeError};
use crate::model::timestamp::Timestamp;

/// A read that takes longer is stuck.
const MAX_READ: Duration = Duration::from_millis(250);
/// The same while another device is busy already, so that many binds at once do not add up.
const MAX_READ_WHILE_BUSY: Duration = Duration::from_millis(50);
/// How many threads may be stuck at a time.
const MAX_STUCK_THREADS: usize = 16;

/// The devices on which a thread of this process is stuck, and since when.
static BUSY: Mutex<BTreeMap<String, Timestamp>> = Mutex::new(BTreeMap::new());

thread_local! {
    static THREAD: Pid = gettid();
}

/// Whether the kernel lets a reader of this attribute wait for a bind (drivers/nvdimm, Linux 6.1 to 7.3: `size_show` and
/// `resource_show` in pfn_devs.c, `size_show` in btt_devs.c, `mode_show` and `holder_show` in namespace_devs.c; in
/// region_devs.c those with `wait_nvdimm_bus_probe_idle`; in drivers/dax, `size_show` and kmem's `state_show`, of devices that
/// have names as those of libnvdimm).
fn waits_for_binds(device: &str, attribute: &str) -> bool {
    match attribute {
        "size" | "resource" => ["pfn", "dax", "btt"].iter().any(|kind| device.starts_with(kind)),
        "state" => device.starts_with("dax"),
        "mode" | "holder" => device.starts_with("namespace"),
        "available_size" | "max_available_extent" | "set_cookie" => device.starts_with("region"),
        _ => false,
    }
}

/// The reads of one thread, or of several that work together.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: Vec<Read>,
    /// Nobody waits for these reads.
    abandoned: bool,
}

#[derive(Debug)]
struct Read {
    device: String,
    thread: Pid,
    began: Instant,
}

impl Read {
    fn is_stuck(&self, max_read: Duration) -> bool {
        self.began.elapsed() >= max_read && !is_runnable(self.thread)
    }
}

/// Whether a thread of this process runs, or would if there were a processor for it: on a busy host it may wait long for one.
fn is_runnable(thread: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
}

/// A read that may wait for a bind; it has ended when this is dropped.
pub(super) struct UnderWay<'a> {
    reads: &'a Reads,
    device: &'a str,
}

impl Reads {
    /// Has the read of an attribute watched, if it may wait for a bind.
    ///
    /// # Errors
    /// The device is busy: the attribute must not be read.
    pub(super) fn begin<'a>(&'a self, device: &'a str, attribute: &str) -> Attribute<Option<UnderWay<'a>>> {
        if !waits_for_binds(device, attribute) {
            return Ok(None);
        }
        if let Some(since) = lock(&BUSY).get(device) {
            return Err(AttributeError::Busy(*since));
        }
        let mut state = lock(&self.0);
        if state.abandoned {
            return Err(AttributeError::Busy(SystemTime::now().into()));
        }
        let thread = THREAD.with(|thread| *thread);
        state.under_way.push(Read { device: device.to_owned(), thread, began: Instant::now() });
        Ok(Some(UnderWay { reads: self, device }))
    }

    /// Gives up these reads if one of them is stuck: its device is busy from now on. Returns whether that is so.
    fn abandon_if_stuck(&self) -> bool {
        let mut state = lock(&self.0);
        let State { under_way, abandoned } = &mut *state;
        let mut busy = lock(&BUSY);
        let max_read = if busy.is_empty() { MAX_READ } else { MAX_READ_WHILE_BUSY };
        for read in under_way.iter().filter(|read| read.is_stuck(max_read)) {
            let since = SystemTime::now().checked_sub(read.began.elapsed()).unwrap_or_else(SystemTime::now);
            busy.insert(read.device.clone(), since.into());
            *abandoned = true;
        }
        *abandoned
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.reads.0);
        state.under_way.retain(|read| read.device != self.device);
        if state.abandoned {
            lock(&BUSY).remove(self.device);
        }
    }
}

/// Runs `read` in a thread, again if a device has become busy, until it has read all the others.
///
/// # Errors
/// There are too many busy devices.
pub(super) fn read_around_binds<T: Send + 'static>(
    read: impl Fn(&Arc<Reads>) -> T + Send + Sync + 'static,
) -> io::Result<T> {
    let read = Arc::new(read);
    while lock(&BUSY).len() < MAX_STUCK_THREADS {
        let reads = Arc::new(Reads::default());
        let (sender, receiver) = sync_channel(1);
        let (work, watched) = (Arc::clone(&read), Arc::clone(&reads));
        let started = thread::Builder::new().name("sysfs".to_owned()).spawn(move || sender.send(work(&watched)));
        if started.is_err() {
            // Without a second thread (`pids.max`) it waits for binds.
            return Ok(read(&reads));
        }
        loop {
            match receiver.recv_timeout(MAX_READ_WHILE_BUSY) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the thread that reads it ended early"));
                }
                Err(RecvTimeoutError::Timeout) if reads.abandon_if_stuck() => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
    let devices: Vec<_> = lock(&BUSY).keys().cloned().collect();
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("too many devices are being bound: {}", devices.join(", ")),
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Reads two devices' sizes, of which the first does not return until the receiver's other end is dropped.
    fn read_two(bind: &Mutex<Receiver<()>>, reads: &Reads, busy: &str) -> [Attribute<u64>; 2] {
        let size = |device: &str, value: u64| {
            let _under_way = reads.begin(device, "size")?;
            if device == busy {
                let _ = bind.lock().unwrap().recv();
            }
            Ok(value)
        };
        [size(busy, 1), size("pfn9.1", 2)]
    }

    #[test]
    fn a_busy_device_is_skipped_until_its_bind_has_ended() {
        let (end_of_bind, bind) = channel::<()>();
        let bind = Arc::new(Mutex::new(bind));
        let read = move || {
            let bind = Arc::clone(&bind);
            read_around_binds(move |reads| read_two(&bind, reads, "pfn9.0")).unwrap()
        };
        let before = Instant::now();
        let [busy, other] = read();
        assert!(matches!(busy, Err(AttributeError::Busy(_))), "{busy:?}");
        assert_eq!(other, Ok(2));
        assert!(before.elapsed() >= MAX_READ);
        assert!(busy.unwrap_err().to_string().starts_with("being bound since 20"));
        assert_eq!(read()[1], Ok(2));
        drop(end_of_bind);
        while lock(&BUSY).contains_key("pfn9.0") {
            thread::yield_now();
        }
        assert_eq!(read(), [Ok(1), Ok(2)]);
    }

    #[test]
    fn only_attributes_that_wait_are_watched() {
        let reads = Reads::default();
        for (device, attribute, waits) in [
            ("pfn0.1", "size", true),
            ("dax0.0", "resource", true),
            ("pfn0.1", "uuid", false),
            ("namespace0.0", "size", false),
            ("namespace0.0", "holder", true),
            ("region0", "set_cookie", true),
            ("region0", "size", false),
        ] {
            assert_eq!(reads.begin(device, attribute).unwrap().is_some(), waits, "{device}/{attribute}");
        }
    }
}
