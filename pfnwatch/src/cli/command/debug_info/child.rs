//! Runs another command of this program, so that one that fails or waits takes nothing else with it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::model::redact::redact_quotes;

/// A bind that takes longer holds nothing else up.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// So much of an output is kept.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// What a command printed, and how it ended in words.
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) end: String,
}

pub(super) fn run(arguments: &[String]) -> Output {
    let mut end = format!("pfnwatch {}\n", arguments.join(" "));
    let mut stdout = String::new();
    // Writing to a String does not fail.
    let _ = match attempt(arguments) {
        Ok((status, out, error)) => {
            stdout = out;
            let status = status.map_or_else(|| format!("did not end within {TIMEOUT:?}"), |status| status.to_string());
            // An error in the configuration quotes its lines.
            writeln!(end, "  {status} {}", redact_quotes(&error))
        }
        Err(error) => writeln!(end, "  cannot be run: {error}"),
    };
    Output { stdout, end }
}

fn attempt(arguments: &[String]) -> io::Result<(Option<ExitStatus>, String, String)> {
    // Files take any amount while nobody reads, unlike pipes.
    let (mut out, mut error) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = Command::new(env::current_exe()?)
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(error.try_clone()?)
        .spawn()?;
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => {
                child.kill()?;
                break None;
            }
            None => thread::sleep(POLL),
        }
    };
    Ok((status, read(&mut out)?, read(&mut error)?))
}

fn read(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
