//! Standard output: one line for each event, for people or for programs; or journald in its place.

use std::io::{self, Write};

use clap::ValueEnum;

use super::journald::Journald;
use super::line;
use crate::model::event::Event;

/// How the agent writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people
    Line,
    /// One line of JSON with a schema, for programs
    Json,
}

/// Where the agent writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogTarget {
    /// journald with fields where standard output goes to it anyway (a service of systemd), else standard output
    Auto,
    /// Standard output
    Stdout,
    /// journald, with fields
    Journald,
}

pub struct Log<W> {
    format: LogFormat,
    to: W,
    journald: Option<Journald>,
    /// Why journald did not accept the last event: that is logged once.
    failure: Option<String>,
}

impl<W: Write> Log<W> {
    pub fn new(format: LogFormat, to: W) -> Self {
        Self { format, to, journald: None, failure: None }
    }

    /// Writes to journald instead, if configured: each event goes to one of the two.
    pub fn select(self, target: LogTarget) -> io::Result<Self> {
        let journald = match target {
            LogTarget::Auto => Journald::of_stdout(),
            LogTarget::Stdout => None,
            LogTarget::Journald => Some(Journald::system()?),
        };
        Ok(Self { journald, ..self })
    }

    /// Writes one event as one line, and flushes. What journald does not accept goes to the stream.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        match self.journald.as_mut().map(|journald| journald.write(event)) {
            Some(Ok(())) => {
                self.failure = None;
                return Ok(());
            }
            Some(Err(error)) => {
                let failure = Some(error.to_string());
                if self.failure != failure {
                    tracing::warn!("journald does not accept events: {error}; they go to standard output");
                    self.failure = failure;
                }
            }
            None => {}
        }
        // One write a line: half a line is nobody's, and where standard error leads to the same place, nothing comes in between.
        let mut text = match self.format {
            LogFormat::Line => line::of(event).into_bytes(),
            LogFormat::Json => serde_json::to_vec(event)?,
        };
        text.push(b'\n');
        self.to.write_all(&text)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::event::{Blind, Body};

    #[derive(Debug, PartialEq, Eq)]
    enum SinkCall {
        Write(Vec<u8>),
        Flush,
    }

    #[derive(Default)]
    struct Stream(Vec<SinkCall>);

    impl Write for &mut Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(SinkCall::Write(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.push(SinkCall::Flush);
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_in_one_piece_and_flushed() {
        let mut stream = Stream::default();
        let mut log = Log::new(LogFormat::Json, &mut stream);
        // Longer than what a stream keeps back, with what would end a line.
        for reason in ["why".to_owned(), "two\nlines \u{2028}\r ".repeat(1000)] {
            log.write(&Event::now(Body::Blind(Blind { reason }))).unwrap();
        }
        let [SinkCall::Write(one), SinkCall::Flush, SinkCall::Write(other), SinkCall::Flush] = &*stream.0 else {
            panic!("{} calls", stream.0.len());
        };
        for line in [one, other] {
            assert_eq!((line.last(), line.iter().filter(|byte| **byte == b'\n').count()), (Some(&b'\n'), 1));
            let event: Value = serde_json::from_slice(line).unwrap();
            crate::testing::schema::check_event(&event).unwrap();
        }
    }
}
