//! Ticks of a timer of the kernel's, one wake-up each. tokio's own timers are handed on from coarser to finer wheels on their
//! way: one that is half a minute off wakes the process three times.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    unistd::read,
};
use tokio::io::unix::AsyncFd;

use crate::os::async_fd::readable;

/// Ticks, the first after one period. Missed ticks are merged into one.
pub struct TimerFdInterval(AsyncFd<OwnedFd>);

impl TimerFdInterval {
    /// Must be called within a tokio runtime.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(period.into()), TimerSetTimeFlags::empty())?;
        readable(OwnedFd::from(timer)).map(Self)
    }

    /// Cancellation-safe.
    pub async fn tick(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match read(ready.get_inner(), &mut [0; size_of::<u64>()]) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    return Err(io::Error::other(format!("timer {}: {error}", ready.get_inner().as_raw_fd())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Instant};

    use super::*;

    #[test]
    fn those_that_nobody_waited_for_are_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let period = Duration::from_millis(50);
            let began = Instant::now();
            let mut ticks = TimerFdInterval::every(period).unwrap();
            ticks.tick().await.unwrap();
            assert!(began.elapsed() >= period);
            sleep(3 * period);
            ticks.tick().await.unwrap();
            let waited = Instant::now();
            ticks.tick().await.unwrap();
            assert!(waited.elapsed() > period / 10, "the ones that were missed did not come one after the other");
        });
    }
}
