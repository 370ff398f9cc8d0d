//! Runs a program and keeps its output.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Error, Result, bail};

use crate::{agent, schema};

pub const NOBODY: u32 = 65534;

#[derive(Debug)]
pub struct CommandOutput {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end. An error only if it cannot be started.
pub fn attempt(program: &str, arguments: &[&str]) -> Result<CommandOutput> {
    outcome(Command::new(program).args(arguments), program)
}

pub fn attempt_as_nobody(program: &str, arguments: &[&str]) -> Result<CommandOutput> {
    outcome(Command::new(program).args(arguments).uid(NOBODY).gid(NOBODY), program)
}

fn outcome(command: &mut Command, program: &str) -> Result<CommandOutput> {
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.with_context(|| format!("cannot start {program}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let said = CommandOutput { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    // All JSON that pfnwatch prints has to match its schemas.
    if program == agent::PROGRAM {
        let arguments: Vec<&str> = command.get_args().filter_map(|it| it.to_str()).collect();
        schema::check_output(&arguments, &said.stdout).map_err(Error::msg)?;
    }
    Ok(said)
}

/// Runs a program that must succeed; returns its standard output. The error has all its output.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let said = attempt(program, arguments)?;
    match said.code {
        Some(0) => Ok(said.stdout),
        code => bail!("{program} {}: exit code {code:?}\n{}{}", arguments.join(" "), said.stdout, said.stderr),
    }
}
