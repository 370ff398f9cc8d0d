//! The exit code of the process.

use std::process::ExitCode;

use crate::model::exit::Exit;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // `Exit` is repr(u8), so that its value is the code.
        Self::from(exit as u8)
    }
}
