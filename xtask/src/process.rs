//! Commands: each with a time limit, ended together with xtask, and with an error that names the command.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

const DEFAULT_LIMIT: Duration = Duration::from_secs(300);
const GRACE: &str = "5";
const TAIL_LINES: usize = 25;

/// A command that is about to be run, by coreutils' `timeout`.
pub(crate) struct Task {
    command: Command,
    limit: Duration,
    shown: String,
}

/// What becomes of a command's standard output.
#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// It goes where xtask's own goes, as standard error does.
    Shown,
    /// It goes there and is kept as well.
    Teed,
    /// Both are kept, and shown only in an error.
    Kept,
}

impl Task {
    /// A command with its arguments, to be run with no input.
    pub(crate) fn new<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        let name = Path::new(command.get_program()).file_name().unwrap_or_default();
        let words: Vec<_> = std::iter::once(name).chain(command.get_args()).map(quoted).collect();
        Self { shown: words.join(" "), command, limit: DEFAULT_LIMIT }
    }

    /// A script of the shell with its arguments. The error names its first line.
    pub(crate) fn script<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut task = Self::new("sh", ["-c", script, "sh"]);
        task.command.args(args);
        let title = script.lines().next().unwrap_or_default().trim_start_matches("# ");
        Self { shown: format!("sh: {title}"), ..task }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Ends the command's whole process group after this time.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn show(self) -> Result<()> {
        eprintln!("$ {}", self.shown);
        self.run(Output::Shown).0
    }

    /// Prints the command, runs it with its output shown, and returns standard output, also of a command that failed.
    pub(crate) fn tee(self) -> (Result<()>, String) {
        eprintln!("$ {}", self.shown);
        self.run(Output::Teed)
    }

    /// Runs the command quietly and returns its standard output; the error carries the end of its output.
    pub(crate) fn read(self) -> Result<String> {
        let (outcome, stdout) = self.run(Output::Kept);
        outcome.map(|()| stdout)
    }

    /// Runs the command; returns its outcome, and what was kept of standard output.
    fn run(self, output: Output) -> (Result<()>, String) {
        let Self { command: inner, limit, shown } = self;
        let limit = limited(limit);
        let mut command = ended_with_xtask("TERM", OsStr::new("timeout"));
        command.args(["--kill-after", GRACE]).arg(limit.as_secs_f64().to_string());
        command.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(inner.get_current_dir().unwrap_or(Path::new(".")));
        if output != Output::Shown {
            command.stdout(Stdio::piped());
        }
        if output == Output::Kept {
            command.stderr(Stdio::piped());
        }
        let mut child = match command.spawn().with_context(|| format!("`{shown}` cannot be started")) {
            Ok(child) => child,
            Err(error) => return (Err(error), String::new()),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stderr = stderr.map(|pipe| thread::spawn(|| text(pipe, false)));
        let stdout = stdout.map_or_else(String::new, |pipe| text(pipe, output == Output::Teed));
        let stderr = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
        let tail = if output == Output::Kept { tail(&stderr, &stdout) } else { String::new() };
        let outcome = match child.wait().map(|status| (status, status.code(), status.signal())) {
            Ok((_, Some(0), _)) => Ok(()),
            // The exit codes of `timeout` at the limit, without and with SIGKILL.
            Ok((_, Some(124), _) | (_, _, Some(9))) => {
                Err(anyhow!("`{shown}` was ended at its limit of {} s{tail}", limit.as_secs()))
            }
            Ok((_, Some(127), _)) => {
                let remedy = remedy(&inner.get_program().to_string_lossy());
                Err(anyhow!("`{shown}`: a program is not installed: {remedy}{tail}"))
            }
            Ok((status, ..)) => Err(anyhow!("`{shown}` failed ({status}){tail}")),
            Err(error) => Err(anyhow!("`{shown}`: {error}")),
        };
        (outcome, stdout)
    }
}

/// A command that the kernel sends this signal when the thread that starts it has ended, and with it all of xtask: an
/// interrupted xtask leaves nothing behind. `timeout` passes the signal on to its whole group.
pub(crate) fn ended_with_xtask(signal: &str, program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

static DEADLINE: OnceLock<Instant> = OnceLock::new();

pub(crate) fn set_deadline(deadline: Instant) {
    let _ = DEADLINE.set(deadline);
}

/// A limit, or what is left until the deadline.
pub(crate) fn limited(limit: Duration) -> Duration {
    let left = DEADLINE.get().map(|deadline| deadline.saturating_duration_since(Instant::now()));
    // 0 would be no limit.
    left.map_or(limit, |left| limit.min(left).max(Duration::from_secs(1)))
}

/// All that comes out of a pipe, with a copy on standard output if it is to be shown.
fn text(mut pipe: impl Read, shown: bool) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        let read = chunk.get(..count).unwrap_or_default();
        bytes.extend_from_slice(read);
        if shown {
            // Nothing is lost when the terminal is gone: the text is kept.
            let _ = io::stdout().write_all(read).and_then(|()| io::stdout().flush());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn remedy(program: &str) -> &'static str {
    match program {
        "apt-get" | "apt-cache" | "apt-config" | "dpkg" | "dpkg-deb" => {
            "it is part of Debian and Ubuntu, which the VM tests need as their host"
        }
        "cargo" | "rustc" | "rustup" => "install Rust from https://rustup.rs",
        _ => "install it and have its folder in PATH",
    }
}

fn tail(stderr: &str, stdout: &str) -> String {
    let output = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(skipped).fold(String::new(), |text, line| text + "\n    " + line)
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Runs two parts side by side and reports the errors of both.
pub(crate) fn both<A: Send, B>(
    one: impl FnOnce() -> Result<A> + Send,
    other: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match (one.join().unwrap_or_else(|_| Err(anyhow!("a part of it panicked"))), other) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(first), Err(second)) => Err(anyhow!("{first:#}\nerror: {second:#}")),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    })
}

/// Works through items in their order, so many at a time, and returns the results.
pub(crate) fn side_by_side<T: Send, R: Send>(items: Vec<T>, at_once: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (waiting, done) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(item) = next() {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Task {
        Task::new("sh", ["-c", script])
    }

    #[test]
    fn output_is_returned_or_in_the_error() {
        assert_eq!(shell("echo one; echo two >&2").read().unwrap(), "one\n");
        let error = |task: Task| task.read().unwrap_err().to_string();
        let failed = error(shell("echo the reason >&2; exit 3"));
        assert!(["sh -c", "exit status: 3", "the reason"].iter().all(|part| failed.contains(part)), "{failed}");
        let missing = error(Task::new("no-such-program-here", ["x"]));
        assert!(missing.contains("is not installed") && missing.contains("PATH"), "{missing}");
        let long = error(shell("seq 100; exit 1"));
        assert!(!long.contains(" 75\n") && long.contains(" 76\n") && long.ends_with(" 100"), "{long}");
        assert_eq!(Task::new("a", ["b c", "", "d'e"]).shown, r"a 'b c' '' 'd'\''e'");
    }

    #[test]
    fn limit_ends_the_whole_group() {
        let start = Instant::now();
        // The grandchild holds the pipe: if it were left alive, the reader would wait for it.
        let error = shell("sleep 100 & sleep 100").limit(Duration::from_millis(200)).read().unwrap_err().to_string();
        assert!(error.contains("ended at its limit"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn a_command_ends_with_the_thread_that_started_it() {
        let child = thread::spawn(|| {
            let mut command = ended_with_xtask("TERM", OsStr::new("sh"));
            let mut child = command.args(["-c", "echo; exec sleep 100"]).stdout(Stdio::piped()).spawn().unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            child
        });
        assert_eq!(child.join().unwrap().wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn each_item_is_worked_on_once() {
        let mut done = side_by_side((0..50).collect(), 3, |number| number * 2);
        done.sort_unstable();
        assert!(done.into_iter().eq((0..50).map(|number| number * 2)));
    }

    #[test]
    fn errors_of_both_parts_are_reported() {
        let part = |error: Option<&'static str>| move || error.map_or(Ok(1), |error| Err(anyhow!(error)));
        let error = both(part(Some("one")), part(Some("two"))).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two"), "{error}");
        assert!(both(part(Some("one")), part(None)).is_err() && both(part(None), part(Some("two"))).is_err());
        assert_eq!(both(part(None), part(None)).unwrap(), (1, 1));
    }
}
