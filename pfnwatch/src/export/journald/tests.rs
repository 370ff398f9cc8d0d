use std::os::fd::FromRawFd as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use nix::cmsg_space;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessageOwned, recvmsg};

use super::*;
use crate::model::event::{Blind, Body, Event};

fn blind(reason: &str) -> Event {
    Event::now(Body::Blind(Blind { reason: reason.to_owned() }))
}

fn listener() -> (tempfile::TempDir, UnixDatagram, Journald) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    (folder, socket, Journald::at(&path).unwrap())
}

#[test]
fn a_field_may_hold_any_text() {
    let mut entry = Vec::new();
    put(&mut entry, "A", "b\nC=d");
    assert_eq!(entry, b"A\n\x05\0\0\0\0\0\0\0b\nC=d\n");
}

#[test]
fn what_is_too_large_for_a_datagram_goes_as_a_file() {
    let (_folder, socket, mut journald) = listener();
    let event = blind(&"x".repeat(1 << 20));
    journald.write(&event).unwrap();
    let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(descriptors)) = message.cmsgs().unwrap().next() else { panic!("no file") };
    // SAFETY: the kernel has just made this descriptor for us, and nobody else owns it.
    let mut file = unsafe { std::fs::File::from_raw_fd(descriptors[0]) };
    let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS).unwrap());
    assert!(seals.contains(SealFlag::all()));
    io::Seek::rewind(&mut file).unwrap();
    assert_eq!(io::Read::bytes(file).map(Result::unwrap).collect::<Vec<_>>(), entry(&event, 0).unwrap());
}

#[test]
fn one_that_stands_still_holds_up_once() {
    let (_folder, socket, mut journald) = listener();
    let start = Instant::now();
    while journald.missed < 50 {
        journald.write(&blind("full")).unwrap();
    }
    assert!(start.elapsed() < 2 * SEND_TIMEOUT, "{:?}", start.elapsed());
    let mut last = vec![0; 4096];
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut last).is_ok() {}
    journald.write(&blind("room")).unwrap();
    let length = socket.recv(&mut last).unwrap();
    assert!(String::from_utf8_lossy(&last[..length]).contains("50 events before this one are missing here"));
    assert_eq!(journald.missed, 0);
}

#[test]
fn one_that_is_gone_is_an_error() {
    let (folder, socket, mut journald) = listener();
    drop((socket, folder));
    journald.write(&blind("gone")).unwrap_err();
}

struct Real(Child);

impl Real {
    /// `None` if this process lacks the privileges, or if there is no systemd.
    fn start() -> Option<Self> {
        let program = ["/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald"];
        let program = program.into_iter().find(|path| Path::new(path).exists())?;
        let script = "mount --make-rprivate / && mkdir -p /run/systemd/journal /run/log && \
                      mount -t tmpfs none /run/systemd/journal && mount -t tmpfs none /run/log && mkdir /run/log/journal";
        unshare(CloneFlags::CLONE_NEWNS).ok()?;
        Command::new("sh").args(["-c", script]).stderr(Stdio::null()).status().ok()?.success().then_some(())?;
        let journald = Command::new(program).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let end = Instant::now() + Duration::from_secs(10);
        while !Path::new(SOCKET).exists() {
            assert!(Instant::now() < end, "journald does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self(journald))
    }

    /// Waits for the entry with this field.
    fn entry(&self, matches: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut journalctl = Command::new("journalctl");
            journalctl.args(["--directory=/run/log/journal", "-a", "-o", "json", "--no-pager", "-n", "1", matches]);
            let said = journalctl.output().unwrap();
            if let Ok(entry) = serde_json::from_slice(&said.stdout) {
                return entry;
            }
            assert!(Instant::now() < end, "{said:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fields as a real journald has them. It needs root and systemd: without them, it prints so and passes.
#[test]
fn a_real_one_has_the_fields() {
    let Some(real) = Real::start() else {
        eprintln!("not run: no journald can be started here");
        return;
    };
    let mut journald = Journald::system().unwrap();
    let large = format!("two\nlines {}", "y".repeat(300 << 10));
    for (event, field) in [(blind("no BTF"), "PRIORITY=3"), (blind(&large), "PFNWATCH_EVENT=blind")] {
        journald.write(&event).unwrap();
        // The second has no field of its own: it is the newest.
        let json = serde_json::to_value(&event).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        let entry = loop {
            let entry = real.entry(field);
            if entry["PFNWATCH_JSON"].as_str() == Some(&json.to_string()) || Instant::now() > end {
                break entry;
            }
        };
        assert_eq!(entry["MESSAGE"], line::of(&event));
        assert_eq!(entry["PFNWATCH_JSON"], json.to_string());
        assert_eq!((&entry["SYSLOG_IDENTIFIER"], &entry["_TRANSPORT"]), (&"pfnwatch".into(), &"journal".into()));
    }
}
