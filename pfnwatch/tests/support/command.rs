//! The built binary, run to its end.
#![allow(dead_code, reason = "included by several programs, each of which uses a part of it")]

use std::process::{Command, Output};

use serde_json::Value;

use super::schema;

pub(crate) fn pfnwatch() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pfnwatch"))
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) error: String,
}

impl Ran {
    /// JSON among the output has the published schema.
    pub(crate) fn of(arguments: &[&str], output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        schema::check_output(arguments, &text).unwrap();
        Self { code: output.status.code().unwrap(), text, error: String::from_utf8(output.stderr).unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}
