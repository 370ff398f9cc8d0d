//! Waits for something, with a limit.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Polling has a cost: under emulation, both sides share a processor. A long wait therefore polls less often, and is
/// noticed late by an eighth of its own time at most.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(100);
const PAUSES_PER_WAIT: u32 = 8;

/// Polls until there is an answer, for so long at most. The error names what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        let waited = start.elapsed();
        if waited >= limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        sleep(pause(waited));
    }
}

fn pause(waited: Duration) -> Duration {
    (waited / PAUSES_PER_WAIT).clamp(MIN_PAUSE, MAX_PAUSE)
}

/// Waits until a child ends, for so long at most. The error names it.
pub fn exit_of(what: &str, child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {what}"))? {
            return Ok(status);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the end of {what}: not within {} s", limit.as_secs());
        }
        // It was not waited for yet: the number is still its own.
        readable(&pidfd(child)?, left)?;
    }
}

/// Waits until there is something to read, or for so long. A signal ends it, too.
pub(crate) fn readable(file: &impl AsFd, limit: Duration) -> Result<()> {
    // What is left below a millisecond is one, and not a busy loop.
    let timeout = PollTimeout::try_from(limit + MIN_PAUSE).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for a descriptor"),
    }
}

/// A descriptor that can be read once the child has ended.
fn pidfd(child: &Child) -> Result<OwnedFd> {
    // SAFETY: the call takes two numbers, and no pointer.
    let number = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(child.id()), 0) });
    let number = number.context("no descriptor of a process").and_then(|number| Ok(i32::try_from(number)?))?;
    // SAFETY: the kernel has just made it for this call, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn pauses_grow_with_the_wait_and_are_bounded() {
        let paused = [0, 8, 80, 800, 60_000].map(|waited| pause(Duration::from_millis(waited)).as_millis());
        assert_eq!(paused, [1, 1, 10, 100, 100]);
    }

    #[test]
    fn an_answer_that_comes_later_is_found_and_one_that_does_not_come_is_an_error() {
        let mut asked = 0;
        let third = until("the third time", Duration::from_secs(60), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third.unwrap(), 3);
        let never = until("nothing", Duration::ZERO, || None::<()>).unwrap_err();
        assert_eq!(never.to_string(), "nothing: not within 0 s");
    }

    #[test]
    fn a_child_is_waited_for_until_it_ends_or_until_the_limit() {
        let mut child = Command::new("sh").args(["-c", "sleep 0.05; exit 3"]).spawn().unwrap();
        assert_eq!(exit_of("a shell", &mut child, Duration::from_secs(60)).unwrap().code(), Some(3));
        // Again: it is gone, and its status is known.
        assert_eq!(exit_of("a shell", &mut child, Duration::ZERO).unwrap().code(), Some(3));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let error = exit_of("sleep", &mut child, Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.to_string(), "the end of sleep: not within 0 s");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
