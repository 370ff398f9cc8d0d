//! Standard output: one line for each event, for people or for programs.

use std::io::{self, Write};

use clap::ValueEnum;

use super::line;
use crate::event::Event;

/// How the agent writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line for people
    Line,
    /// One line of JSON with a schema, for programs
    Json,
}

/// Writes events to a stream.
pub struct Log<W> {
    format: Format,
    to: W,
}

impl<W: Write> Log<W> {
    /// Writes to `to`.
    pub fn new(format: Format, to: W) -> Self {
        Self { format, to }
    }

    /// Writes one event as one line, and sees to it that whoever reads has it.
    ///
    /// # Errors
    /// The stream does not take it.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
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
