//! QEMU's monitor: what QEMU itself says of a guest whose kernel has lost its timer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

/// For so long an answer is waited for.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Whether a processor's timer is set, and what keeps its interrupt from it. A guest has two processors.
const QUESTIONS: [&str; 2] = ["info lapic 0", "info lapic 1"];

/// Where a guest's monitor is to listen: in a folder of its own with a short name, since a socket's path has 107 bytes at most.
pub(super) struct Monitor(TempDir);

impl Monitor {
    pub(super) fn new() -> Result<Self> {
        tempfile::tempdir().map(Self).context("cannot make a folder for QEMU's monitor")
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("monitor")
    }

    /// What QEMU is told of it.
    pub(super) fn arguments(&self) -> [String; 2] {
        ["-qmp".to_owned(), format!("unix:{},server=on,wait=off", self.socket().display())]
    }

    /// What QEMU says of the processors' local APICs.
    ///
    /// # Errors
    /// It is not there any more, or does not answer.
    pub(super) fn local_apics(&self) -> Result<String> {
        let socket = self.socket();
        let context = || format!("QEMU's monitor at {} does not answer", socket.display());
        let mut stream = UnixStream::connect(&socket).with_context(context)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).with_context(context)?;
        let mut lines = BufReader::new(stream.try_clone().with_context(context)?).lines();
        let questions = QUESTIONS.map(|question| {
            json!({"execute": "human-monitor-command", "arguments": {"command-line": question}}).to_string()
        });
        let asked = [r#"{"execute":"qmp_capabilities"}"#.to_owned()].into_iter().chain(questions);
        for line in asked {
            writeln!(stream, "{line}").with_context(context)?;
        }
        let mut answers = Vec::new();
        while answers.len() < QUESTIONS.len() {
            let line = lines.next().with_context(context)?.with_context(context)?;
            answers.extend(answer(&line));
        }
        Ok(answers.concat())
    }
}

/// The text that answers a question; a greeting, an event and an answer without a text have none.
fn answer(line: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).ok()?;
    let refused = || Some(said.get("error")?.get("desc")?.as_str()?.to_owned() + "\n");
    said.get("return").and_then(Value::as_str).map(|text| text.replace('\r', "")).or_else(refused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn answers_are_told_from_what_else_is_said() {
        let monitor = Monitor::new().unwrap();
        let listener = UnixListener::bind(monitor.socket()).unwrap();
        let qemu = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            writeln!(stream, r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#).unwrap();
            let asked: Vec<_> =
                BufReader::new(stream.try_clone().unwrap()).lines().take(3).map(Result::unwrap).collect();
            for said in [
                r#"{"return": {}}"#,
                r#"{"return": "dumping local APIC state for CPU 0 \r\n\r\n"}"#,
                r#"{"event": "RESET", "data": {}}"#,
                r#"{"error": {"class": "GenericError", "desc": "no such processor"}}"#,
            ] {
                writeln!(stream, "{said}").unwrap();
            }
            asked
        });
        let told = monitor.local_apics().unwrap();
        assert_eq!(told, "dumping local APIC state for CPU 0 \n\nno such processor\n");
        let asked = qemu.join().unwrap();
        assert!(asked[0].contains("qmp_capabilities") && asked[2].contains(r#""info lapic 1""#), "{asked:?}");
    }

    #[test]
    fn one_that_is_gone_is_an_error_that_names_its_place() {
        let monitor = Monitor::new().unwrap();
        let error = monitor.local_apics().unwrap_err().to_string();
        assert!(error.contains(&monitor.socket().display().to_string()), "{error}");
    }
}
