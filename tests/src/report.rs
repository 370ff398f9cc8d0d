//! Reports of a guest to the host: one JSON object a line on its second serial port.
//!
//! The second port, because the kernel writes to the first at any time, also into the middle of a line.

use std::fs::OpenOptions;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::bench::{Figures, Measurement, ScanRun};

pub const DEVICE: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyAMA1" } else { "/dev/ttyS1" };

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    Ready {
        release: String,
        tests: usize,
    },
    Started {
        name: String,
    },
    Passed {
        name: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    Failed {
        name: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// How it ended: exit status, signal or limit.
        why: String,
    },
    /// A line of output: of the test that failed last, of the demo, or of a test that takes long.
    Output {
        line: String,
    },
    Totals {
        size_bytes: u64,
        usable_bytes: u64,
        excess_bytes: u64,
    },
    Measured(Measurement),
    Looked(ScanRun),
    Agent(Box<Figures>),
    /// A test that does not count for this kernel line: neither passed nor failed.
    Elsewhere {
        name: String,
        lines: String,
    },
    /// PID 1 itself cannot go on.
    Broken {
        why: String,
    },
    Verdict {
        passed: usize,
        failed: usize,
    },
}

impl Report {
    /// The line without its end. A report has nothing in it that JSON could refuse.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses a line of a serial port, with its CR; `None` for anything else.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim_matches(['\r', '\n', '\0', ' '])).ok()
    }
}

/// Reports to the host during a test, while PID 1 sends nothing. A lost report does no harm.
pub fn print(report: &Report) {
    if let Ok(mut device) = OpenOptions::new().write(true).open(DEVICE) {
        let _ = device.write_all(format!("{}\n", report.to_line()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_comes_back_with_quotes_and_carriage_return() {
        let report = Report::Output { line: "not \"no\"\tto \\ this\u{1b}[0m".to_owned() };
        let line = report.to_line();
        assert!(!line.contains('\n'));
        assert_eq!(Report::from_line(&format!("{line}\r\n")), Some(report));
    }

    #[test]
    fn other_lines_are_no_report() {
        for line in ["", "[    0.000000] Linux version 6.1", "{}", "{\"report\":\"unheard\"}", "\u{fffd}{"] {
            assert_eq!(Report::from_line(line), None, "{line}");
        }
    }
}
