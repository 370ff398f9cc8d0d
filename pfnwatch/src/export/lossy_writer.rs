//! A stream with a limited wait: the reader of standard output may stop reading, and the agent must not block.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

/// How long a line waits for room.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// What a writable pipe accepts at once (PIPE_BUF, pipe(7)).
const CHUNK_BYTES: usize = 4096;

/// Writes whole lines, and drops those for which there is no room.
#[derive(Debug)]
pub struct LossyWriter<F> {
    to: F,
    timeout: Duration,
    /// The rest of a line that was partly written.
    unwritten: Vec<u8>,
    /// Lines that were left out since the last that was written.
    missed: u64,
}

impl<F: AsFd> LossyWriter<F> {
    /// A writer that waits for a second.
    pub const fn new(to: F) -> Self {
        Self { to, timeout: WRITE_TIMEOUT, unwritten: Vec::new(), missed: 0 }
    }

    /// Whether there is room for [`CHUNK_BYTES`] within this time.
    fn has_room(&self, within: Duration) -> io::Result<bool> {
        let mut asked = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
        let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO);
        match poll(&mut asked, within) {
            // If the reader is gone, the write reports it.
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn push(&self, bytes: &[u8], mut patience: Duration) -> io::Result<usize> {
        let mut done = 0;
        while let Some(chunk) = bytes.get(done..).and_then(|rest| rest.chunks(CHUNK_BYTES).next()) {
            if !self.has_room(patience)? {
                break;
            }
            match write(&self.to, chunk) {
                Ok(written) => done += written,
                Err(Errno::EINTR) => {}
                // The stream does not wait by itself, and the room went to somebody else.
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            patience = self.timeout;
        }
        Ok(done)
    }
}

impl<F: AsFd> Write for LossyWriter<F> {
    /// Accepts every line: one that is dropped is counted, and reported with the next that is written.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // It was waited for once: the next ones do not wait until there is room again.
        let patience = if self.missed > 0 || !self.unwritten.is_empty() { Duration::ZERO } else { self.timeout };
        let done = self.push(&self.unwritten, patience)?;
        self.unwritten.drain(..done);
        let written = if self.unwritten.is_empty() { self.push(line, patience)? } else { 0 };
        if written == 0 {
            self.missed += 1;
            return Ok(line.len());
        }
        self.unwritten.extend(line.get(written..).unwrap_or_default());
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            tracing::warn!("standard output was blocked: {missed} events before this one are only in the event store");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _, pipe};
    use std::time::Instant;

    use super::*;

    fn of_pipe() -> (PipeReader, LossyWriter<PipeWriter>) {
        let (reader, writer) = pipe().unwrap();
        (reader, LossyWriter { timeout: Duration::from_millis(50), ..LossyWriter::new(writer) })
    }

    fn line(number: usize) -> String {
        format!("{number} {}\n", "x".repeat(3000))
    }

    #[test]
    fn a_reader_that_stands_still_is_not_waited_for_and_misses_whole_lines() {
        let (mut reader, mut stream) = of_pipe();
        let begun = Instant::now();
        for number in 0..200 {
            stream.write_all(line(number).as_bytes()).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(stream.missed > 100, "{}", stream.missed);
        // It goes on: what was begun is ended first.
        let mut read = vec![0; 1 << 16];
        let mut text = Vec::new();
        for number in 200..210 {
            let count = reader.read(&mut read).unwrap();
            text.extend_from_slice(&read[..count]);
            stream.write_all(line(number).as_bytes()).unwrap();
        }
        drop(stream);
        reader.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
        assert!(text.lines().all(|line| line.ends_with(&"x".repeat(3000))), "a line is in pieces");
        assert!(numbers.is_sorted() && numbers.contains(&0) && numbers.last() == Some(&209), "{numbers:?}");
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (reader, mut stream) = of_pipe();
        drop(reader);
        assert_eq!(stream.write(b"line\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
