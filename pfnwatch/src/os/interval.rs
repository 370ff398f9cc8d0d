//! Ticks of a timer of the kernel's, one wake-up each. tokio's own timers are handed on from coarser to finer wheels on their
//! way: one that is half a minute off wakes the process three times.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{self, Poll};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;

use crate::os::async_fd::readable;
use crate::os::clock::Interval;

/// Ticks, the first after one period. Missed ticks are merged into one.
pub struct TimerFdInterval(AsyncFd<OwnedFd>);

impl TimerFdInterval {
    /// Must be called within a tokio runtime.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(period.into()), TimerSetTimeFlags::empty())?;
        readable(OwnedFd::from(timer)).map(Self)
    }
}

impl Interval for TimerFdInterval {
    fn poll_tick(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = task::ready!(self.0.poll_read_ready(context))?;
            match read(ready.get_inner(), &mut [0; size_of::<u64>()]) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    let timer = ready.get_inner().as_raw_fd();
                    return Poll::Ready(Err(io::Error::other(format!("timer {timer}: {error}"))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    #[test]
    fn those_that_nobody_waited_for_are_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let period = Duration::from_millis(50);
            let began = Instant::now();
            let mut ticks = TimerFdInterval::every(period).unwrap();
            poll_fn(|context| ticks.poll_tick(context)).await.unwrap();
            assert!(began.elapsed() >= period);
            sleep(3 * period);
            poll_fn(|context| ticks.poll_tick(context)).await.unwrap();
            let waited = Instant::now();
            poll_fn(|context| ticks.poll_tick(context)).await.unwrap();
            assert!(waited.elapsed() > period / 10, "the ones that were missed did not come one after the other");
        });
    }
}
