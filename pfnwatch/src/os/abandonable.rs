//! Runs a command in a child process, and continues without that process if it has its result and cannot end.
//!
//! A thread that reads sysfs waits in the kernel until a bind has ended (`sysfs/busy.rs`). Nothing interrupts that, and a process
//! ends only with its last thread: 27 s later for 256 GiB under emulation. So the parent ends as soon as the result is there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{self, ExitCode};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, getpid, getppid, pipe2};

use crate::model::exit::Exit;

/// How long the child may take to end after its result, in milliseconds.
const MAX_END_MS: u16 = 250;

/// Runs `work` in a child process, or in this process if there can be no other, and returns its exit code. The child ends with
/// this process, or as soon as the kernel lets it end. No other thread may run yet.
pub fn run(work: impl FnOnce() -> Exit) -> ExitCode {
    ExitCode::from(exit_code(work))
}

fn exit_code(work: impl FnOnce() -> Exit) -> u8 {
    let parent = getpid();
    let Ok((result, writer)) = pipe2(OFlag::O_CLOEXEC) else { return work() as u8 };
    // SAFETY: there is no other thread that could hold a lock, so that the child may do anything.
    match unsafe { fork() } {
        Err(_) => work() as u8,
        Ok(ForkResult::Parent { child }) => {
            drop(writer);
            wait_for_result(result, child)
        }
        Ok(ForkResult::Child) => {
            drop(result);
            // If the parent has ended before this, no signal comes.
            if prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() != parent {
                process::exit(i32::from(Exit::Error as u8));
            }
            let exit = work();
            release_standard_streams();
            // It stays open until the last thread has ended.
            let mut writer = File::from(writer);
            let _ = writer.write_all(&[exit as u8]);
            process::exit(i32::from(exit as u8))
        }
    }
}

/// Whoever reads the output must not wait for a child that cannot end.
fn release_standard_streams() {
    let _ = io::stdout().flush();
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = (dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null));
    }
}

fn wait_for_result(result: OwnedFd, child: Pid) -> u8 {
    let (mut result, mut code) = (File::from(result), [0]);
    if result.read_exact(&mut code).is_err() {
        return end_of(child);
    }
    // The end of file comes with the end of the child's last thread.
    let mut end = [PollFd::new(result.as_fd(), PollFlags::POLLIN)];
    if poll(&mut end, PollTimeout::from(MAX_END_MS)).is_ok_and(|ended| ended > 0) {
        end_of(child);
    }
    let [code] = code;
    code
}

/// The exit code of a child that ends now, as a shell has it.
fn end_of(child: Pid) -> u8 {
    let code = match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        _ => i32::from(Exit::Error as u8),
    };
    u8::try_from(code).unwrap_or(Exit::Error as u8)
}

#[cfg(test)]
mod tests {
    use std::io::StdoutLock;
    use std::thread;
    use std::time::{Duration, Instant};

    use nix::sys::signal::raise;

    use super::*;

    /// The child flushes standard output: no other thread of the test program may hold its lock when it is forked.
    fn lock_stdout() -> StdoutLock<'static> {
        io::stdout().lock()
    }

    /// Acts like a thread that waits in the kernel: the process has its result, and does not end.
    extern "C" fn hold() {
        thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn process_that_cannot_end_is_left_behind() {
        let (mut output, writer) = io::pipe().unwrap();
        let began = Instant::now();
        let _lock = lock_stdout();
        let code = exit_code(|| {
            dup2_stdout(&writer).unwrap();
            // Not by `println`, which the test harness captures.
            (&writer).write_all(b"a report").unwrap();
            // SAFETY: the function takes nothing and returns nothing, as it has to.
            unsafe { libc::atexit(hold) };
            nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&writer)).unwrap();
            Exit::Findings
        });
        drop(writer);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!((code, text.as_str()), (Exit::Findings as u8, "a report"));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn exit_code_is_that_of_the_work() {
        let _lock = lock_stdout();
        assert_eq!(exit_code(|| Exit::Unsupported), 4);
        let killed = exit_code(|| {
            raise(Signal::SIGTERM).unwrap();
            Exit::Success
        });
        assert_eq!(killed, 128 + 15);
    }
}
