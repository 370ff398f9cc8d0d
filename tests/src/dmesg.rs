//! The kernel's log from a moment on.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};

/// A message: its number, its level (0 emergency … 4 warning … 7 debug) and its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub number: u64,
    pub level: u8,
    pub text: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Mark {
    /// Now: later messages are after it.
    pub fn now() -> Result<Self> {
        Ok(Self(all()?.last().map_or(0, |message| message.number)))
    }

    pub fn since(self) -> Result<Vec<Message>> {
        Ok(all()?.into_iter().filter(|message| message.number > self.0).collect())
    }
}

pub fn all() -> Result<Vec<Message>> {
    let log = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg");
    let mut log = log.context("cannot open /dev/kmsg")?;
    let (mut messages, mut record) = (Vec::new(), [0; 8192]);
    // One read is one record. EPIPE means that records were overwritten: the next read continues behind them.
    loop {
        match log.read(&mut record) {
            Ok(length) => messages.extend(parse(&String::from_utf8_lossy(record.get(..length).unwrap_or_default()))),
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => (),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(messages),
            Err(error) => return Err(error).context("cannot read /dev/kmsg"),
        }
    }
}

/// `level and facility,number,time,flags;text` and further lines with a space in front (Documentation/ABI/testing/dev-kmsg).
fn parse(record: &str) -> Option<Message> {
    let (head, text) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u64 = fields.next()?.parse().ok()?;
    let number = fields.next()?.parse().ok()?;
    let level = u8::try_from(priority & 7).ok()?;
    Some(Message { number, level, text: text.lines().next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_with_facility_and_continuation() {
        let message = parse("12,345,678,-,caller=T1;nd_pmem: hello; there\n SUBSYSTEM=nd\n").unwrap();
        assert_eq!(message, Message { number: 345, level: 4, text: "nd_pmem: hello; there".to_owned() });
        assert_eq!(parse("rubbish"), None);
        assert_eq!(parse("x,1;y"), None);
    }
}
