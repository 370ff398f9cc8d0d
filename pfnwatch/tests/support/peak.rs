//! The most memory that a program had, and how long it worked for its answer.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::SYS_write;

pub struct Ran {
    /// From its start until it began to write its answer.
    pub took: Duration,
    /// VmHWM at that time, in bytes.
    pub peak_bytes: u64,
    pub code: Option<i32>,
    pub output: String,
}

/// Runs a program that writes when it has finished. Its standard output is a full pipe: while the program waits for
/// room in it, /proc still has its peak memory. (`ru_maxrss` would include its parent's.)
pub fn run(command: &mut Command) -> io::Result<Ran> {
    let (mut reader, mut writer) = io::pipe()?;
    let filled = fill(&mut writer)?;
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::from(writer)).spawn()?;
    // The command holds on to the pipe's other end.
    command.stdout(Stdio::null());
    let waits = format!("/proc/{}/syscall", child.id());
    let writes = |text: String| text.starts_with(&format!("{} 0x1 ", SYS_write));
    while !fs::read_to_string(&waits).is_ok_and(writes) {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("it ended with {status} before it wrote anything")));
        }
        thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)?;
    let mut output = vec![0; filled];
    reader.read_exact(&mut output)?;
    let mut output = String::new();
    reader.read_to_string(&mut output)?;
    Ok(Ran { took, peak_bytes: kib << 10, code: child.wait()?.code(), output })
}

/// Writes until the pipe is full. Returns the number of bytes.
fn fill(writer: &mut io::PipeWriter) -> io::Result<usize> {
    fcntl(&*writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut filled = 0;
    loop {
        match writer.write(&[b'#'; 4096]) {
            Ok(written) => filled += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    fcntl(&*writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(filled)
}
