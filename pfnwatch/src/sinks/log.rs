//! Standard output: one line for each event, for people or for programs; or journald in its place.

use std::io::{self, Write};

use clap::ValueEnum;

use super::{journald::Journald, line};
use crate::event::Event;

/// How the agent writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line for people
    Line,
    /// One line of JSON with a schema, for programs
    Json,
}

/// Where the agent writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// journald with fields where standard output goes to it anyway (a service of systemd), else standard output
    Auto,
    /// Standard output
    Stdout,
    /// journald, with fields
    Journald,
}

/// Writes events to a stream, or to journald.
pub struct Log<W> {
    format: Format,
    to: W,
    journald: Option<Journald>,
}

impl<W: Write> Log<W> {
    /// Writes to `to`.
    pub fn new(format: Format, to: W) -> Self {
        Self { format, to, journald: None }
    }

    /// Writes to journald instead, where that is wanted: each event once, to one of the two.
    ///
    /// # Errors
    /// journald is asked for by name, and is not there.
    pub fn choose(self, target: Target) -> io::Result<Self> {
        let journald = match target {
            Target::Auto => Journald::of_stdout(),
            Target::Stdout => None,
            Target::Journald => Some(Journald::usual()?),
        };
        Ok(Self { journald, ..self })
    }

    /// Writes one event as one line, and sees to it that whoever reads has it. What journald does not take goes to the stream.
    ///
    /// # Errors
    /// The stream does not take it.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        match self.journald.as_mut().map(|journald| journald.write(event)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => tracing::warn!("journald does not take an event: {error}; standard output has it"),
            None => {}
        }
        match self.format {
            Format::Line => writeln!(self.to, "{}", line::of(event))?,
            Format::Json => {
                serde_json::to_writer(&mut self.to, event)?;
                self.to.write_all(b"\n")?;
            }
        }
        self.to.flush()
    }
}
