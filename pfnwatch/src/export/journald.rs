//! journald: each event as one entry with fields of its own, in journald's native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! Not taken from a library, since the existing ones wait for journald without a limit: the agent must not block
//! because another process does.

use std::env;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::Value;

use super::line;
use crate::model::event::Event;

const SOCKET: &str = "/run/systemd/journal/socket";

/// How long an event waits for journald to make room.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Fields from the event's JSON, so that `journalctl FIELD=value` finds it.
const FIELDS: [(&str, &str); 6] = [
    ("PFNWATCH_EVENT", "event"),
    ("PFNWATCH_ID", "id"),
    ("PFNWATCH_NAMESPACE", "namespace"),
    ("PFNWATCH_NAMESPACE_UUID", "namespace_uuid"),
    ("PFNWATCH_VERDICT", "verdict"),
    ("PFNWATCH_EXCESS_BYTES", "excess_bytes"),
];

#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
    /// How many events journald did not accept since the last that it did.
    missed: u64,
}

impl Journald {
    /// The host's journald, if standard output is connected to it.
    #[must_use]
    pub fn of_stdout() -> Option<Self> {
        is_stream(&env::var("JOURNAL_STREAM").ok()?).then(|| Self::system().ok()).flatten()
    }

    pub fn system() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    pub fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        std::fs::metadata(path)?;
        Ok(Self { socket, path: path.to_owned(), missed: 0 })
    }

    /// Writes an event. One for which journald has no room is dropped, and counted in the next: the event store has it.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        match self.send(&entry(event, self.missed)?) {
            Ok(()) => {
                if self.missed > 0 {
                    self.socket.set_nonblocking(false)?;
                    self.missed = 0;
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // It was waited for once: the next ones do not wait until it takes one again.
                self.missed += 1;
                self.socket.set_nonblocking(true)
            }
            Err(error) => Err(error),
        }
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.send_file(entry),
            sent => sent.map(drop),
        }
    }

    /// An entry too large for a datagram is sent as a sealed memfd.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let mut file =
            std::fs::File::from(memfd_create(c"pfnwatch", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        file.write_all(entry)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        let (descriptors, to) = ([file.as_raw_fd()], UnixAddr::new(&self.path)?);
        let control = [ControlMessage::ScmRights(&descriptors)];
        sendmsg(self.socket.as_raw_fd(), &[], &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }
}

/// Whether standard output is the stream that systemd made: `JOURNAL_STREAM` is its device and inode (systemd.exec(5)).
fn is_stream(variable: &str) -> bool {
    let Ok(stdout) = std::fs::metadata("/proc/self/fd/1") else { return false };
    variable == format!("{}:{}", stdout.dev(), stdout.ino())
}

fn entry(event: &Event, missed: u64) -> io::Result<Vec<u8>> {
    let json = serde_json::to_value(event)?;
    let mut entry = Vec::new();
    let mut message = line::of(event);
    if missed > 0 {
        message.push_str(&format!(
            "\n         {missed} events before this one are missing here: journald did not accept them"
        ));
    }
    put(&mut entry, "MESSAGE", &message);
    put(&mut entry, "PRIORITY", priority(&json));
    put(&mut entry, "SYSLOG_IDENTIFIER", "pfnwatch");
    for (field, key) in FIELDS {
        match json.get(key) {
            Some(Value::String(text)) => put(&mut entry, field, text),
            Some(Value::Null) | None => {}
            Some(other) => put(&mut entry, field, &other.to_string()),
        }
    }
    put(&mut entry, "PFNWATCH_JSON", &json.to_string());
    Ok(entry)
}

/// syslog's severities: 3 error, 4 warning, 5 notice, 6 informational.
fn priority(json: &Value) -> &'static str {
    let text = |key| json.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("event"), text("verdict")) {
        ("blind" | "policy_refused", _) => "3",
        ("denied" | "would_deny" | "unjudged" | "lost" | "decode_error" | "capacity_regression", _)
        | (_, "oversize") => "4",
        ("mode_changed" | "guard_state" | "exemption_granted" | "exempt" | "guard_released", _) => "5",
        _ => "6",
    }
}

/// A field with its length, which allows any text.
fn put(entry: &mut Vec<u8>, field: &str, text: &str) {
    entry.extend_from_slice(field.as_bytes());
    entry.push(b'\n');
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    entry.extend_from_slice(&length.to_le_bytes());
    entry.extend_from_slice(text.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests;
