//! Child processes: each in a process group of its own, with a time limit, and with a failure that says what was run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

mod group;

pub(crate) use group::{Group, end_all, end_on_interrupt, kill_all};

/// The limit of a command that is not given one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a group has to end by itself after SIGTERM.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many lines of a failed command's output its error shows.
const TAIL_LINES: usize = 25;

/// A command that is about to be run.
pub(crate) struct Task {
    command: Command,
    limit: Duration,
}

/// What becomes of a command's output.
#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// It goes where xtask's own goes.
    Shown,
    /// It goes there and is kept as well.
    ShownAndKept,
    /// It is kept, and shown only in an error.
    Kept,
}

impl Task {
    /// A command with its arguments, to be run with no input.
    pub(crate) fn new<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Self { command, limit: DEFAULT_TIMEOUT }
    }

    /// Adds a variable to the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable out of the environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in this folder.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Kills the command's whole process group after so long.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Prints the command, and runs it with its output shown.
    pub(crate) fn show(mut self) -> Result<()> {
        self.echo();
        self.run(Output::Shown, &mut || ()).map(drop)
    }

    /// Prints the command, runs it with its output shown, and returns standard output, also of a command that failed.
    pub(crate) fn tee(mut self) -> (Result<()>, String) {
        self.echo();
        match self.execute(Output::ShownAndKept, &mut || ()) {
            Ok(finished) => (finished.verdict(Output::ShownAndKept), finished.stdout),
            Err(error) => (Err(error), String::new()),
        }
    }

    /// Runs the command quietly and returns its standard output; the error carries the end of what it said.
    pub(crate) fn read(self) -> Result<String> {
        self.read_with(|| ())
    }

    /// As `read`, for a command that says on standard error what it has to say.
    pub(crate) fn read_stderr(mut self) -> Result<String> {
        let finished = self.execute(Output::Kept, &mut || ())?;
        finished.verdict(Output::Kept).map(|()| finished.stderr)
    }

    /// As `read`, with something to do a few times a second meanwhile.
    pub(crate) fn read_with(mut self, mut tick: impl FnMut()) -> Result<String> {
        self.run(Output::Kept, &mut tick)
    }

    fn run(&mut self, output: Output, tick: &mut dyn FnMut()) -> Result<String> {
        let finished = self.execute(output, tick)?;
        finished.verdict(output)?;
        Ok(finished.stdout)
    }

    fn echo(&self) {
        eprintln!("$ {}", self.shown());
    }

    /// The command as one would type it: the program's name without its folder, and no environment.
    fn shown(&self) -> String {
        let program = Path::new(self.command.get_program());
        let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(self.command.get_args());
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }

    fn execute(&mut self, output: Output, tick: &mut dyn FnMut()) -> Result<Finished> {
        self.command.process_group(0);
        if output != Output::Shown {
            self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let shown = self.shown();
        let mut child = self.command.spawn().map_err(|error| not_started(self.command.get_program(), &error))?;
        let group = Group::of(&child);
        let echo = output == Output::ShownAndKept;
        let stdout = child.stdout.take().map(|pipe| Reader::start(pipe, echo.then(|| Box::new(io::stdout()) as _)));
        let stderr = child.stderr.take().map(|pipe| Reader::start(pipe, echo.then(|| Box::new(io::stderr()) as _)));
        let outcome = wait(&mut child, &group, self.limit, tick);
        drop(group);
        let (stdout, stderr) =
            (stdout.map_or_else(String::new, Reader::end), stderr.map_or_else(String::new, Reader::end));
        let status = outcome.with_context(|| format!("`{shown}`"))?;
        Ok(Finished { shown, limit: self.limit, status, stdout, stderr })
    }
}

/// A command that ended.
struct Finished {
    shown: String,
    limit: Duration,
    /// None where the limit ended it.
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
}

impl Finished {
    fn verdict(&self, output: Output) -> Result<()> {
        let tail = if output == Output::Kept { tail(&self.stderr, &self.stdout) } else { String::new() };
        match self.status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("`{}` failed ({status}){tail}", self.shown),
            None => bail!("`{}` was ended at its limit of {} s{tail}", self.shown, self.limit.as_secs()),
        }
    }
}

/// Waits for the child; at the limit ends its group and returns None.
fn wait(child: &mut Child, group: &Group, limit: Duration, tick: &mut dyn FnMut()) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut terminated: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().context("cannot be waited for")? {
            return Ok(terminated.is_none().then_some(status));
        }
        match terminated {
            None if start.elapsed() >= limit => {
                group.terminate();
                terminated = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= KILL_TIMEOUT => group.kill(),
            _ => {}
        }
        tick();
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Reads a pipe to its end in a thread of its own.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut pipe: impl Read + Send + 'static, mut echo: Option<Box<dyn Write + Send>>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                let read = chunk.get(..count).unwrap_or_default();
                locked(&kept).extend_from_slice(read);
                if let Some(echo) = &mut echo {
                    // Nothing is lost when the terminal is gone: the text is kept.
                    let _ = echo.write_all(read).and_then(|()| echo.flush());
                }
            }
        });
        Self { bytes, thread }
    }

    /// The text read. A daemon that the command left behind may hold the pipe open: it is not waited for.
    fn end(self) -> String {
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(1));
        }
        String::from_utf8_lossy(&locked(&self.bytes)).into_owned()
    }
}

/// A lock whose data is plain, so that a panic elsewhere leaves nothing half-done in it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_started(program: &OsStr, error: &io::Error) -> anyhow::Error {
    let name = program.to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        anyhow!("`{name}` is not installed: {}", remedy(&name))
    } else {
        anyhow!("`{name}` cannot be started: {error}")
    }
}

/// What to do about a program that is missing.
pub(crate) fn remedy(program: &str) -> &'static str {
    match program {
        "apt-get" | "apt-cache" | "apt-config" | "dpkg" | "dpkg-deb" => {
            "it is part of Debian and Ubuntu, which the VM tests need as their host"
        }
        "cargo" | "rustc" | "rustup" => "install Rust from https://rustup.rs",
        "qemu-system-x86_64" => "apt-get install qemu-system-x86 (10 or newer)",
        _ => "install it and have its folder in PATH",
    }
}

/// The last lines of what a command said, on lines of their own.
fn tail(stderr: &str, stdout: &str) -> String {
    let said = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(skipped).fold(String::new(), |text, line| text + "\n    " + line)
}

fn quoted(word: &OsStr) -> String {
    let word = OsString::from(word).to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
