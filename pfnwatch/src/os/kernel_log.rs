//! The kernel's log of this boot: `/dev/kmsg`, or a log that was saved.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};

use crate::model::why::LogRecord;

/// The device (Documentation/ABI/testing/dev-kmsg). Each reader has its own position: nothing is taken from others.
pub const KMSG: &str = "/dev/kmsg";

/// Longer than any record: the kernel's own buffer has 8192 bytes (CONSOLE_EXT_LOG_MAX, 6.1's kernel/printk/internal.h).
const MAX_RECORD_BYTES: usize = 8192;
/// A log that grows faster than it is read must not hold a command up.
const MAX_READS: usize = 1 << 20;
/// So many matching records are kept: the last ones.
const MAX_KEPT: usize = 10_000;
/// So much of a saved log is read.
const MAX_SAVED_BYTES: u64 = 64 << 20;

/// The messages that were asked for, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLog {
    pub records: VecDeque<LogRecord>,
    /// Whether older messages were overwritten or left out.
    pub truncated: bool,
}

impl KernelLog {
    /// Reads `/dev/kmsg`, without waiting for messages to come, and keeps those that are wanted.
    ///
    /// # Errors
    /// The device cannot be opened (without CAP_SYSLOG under `dmesg_restrict`, in a container) or read.
    pub fn read(device: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Self> {
        let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        Self::of(OpenOptions::new().read(true).custom_flags(flags).open(device)?, wanted)
    }

    /// One read of `device` is one record.
    fn of(mut device: impl Read, wanted: impl Fn(&str) -> bool) -> io::Result<Self> {
        let (mut log, mut buffer, mut first) = (Self::default(), [0; MAX_RECORD_BYTES], true);
        for _ in 0..MAX_READS {
            match device.read(&mut buffer) {
                Ok(0) => return Ok(log),
                Ok(length) => {
                    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                    let Some((number, record)) = parse_record(&text) else { continue };
                    // The first record of a boot has number 0.
                    log.truncated |= first && number > 0;
                    first = false;
                    log.keep(record, &wanted);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(log),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    // Records were overwritten; the next read continues behind them.
                    Some(Errno::EPIPE) => log.truncated = true,
                    // A record that is longer than the buffer was skipped (devkmsg_read in 6.1's kernel/printk/printk.c).
                    Some(Errno::EINVAL) => {}
                    _ => return Err(error),
                },
            }
        }
        log.truncated = true;
        Ok(log)
    }

    /// Reads a saved log: of `dmesg`, `journalctl -k` or `/dev/kmsg`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn saved(file: impl Read, wanted: impl Fn(&str) -> bool) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.take(MAX_SAVED_BYTES).read_to_end(&mut bytes)?;
        let mut log = Self { truncated: bytes.len() as u64 == MAX_SAVED_BYTES, ..Self::default() };
        for line in String::from_utf8_lossy(&bytes).lines() {
            let record = parse_record(line).map_or_else(|| parse_line(line), |(_, record)| record);
            log.keep(record, &wanted);
        }
        Ok(log)
    }

    fn keep(&mut self, record: LogRecord, wanted: &impl Fn(&str) -> bool) {
        if !wanted(&record.text) {
            return;
        }
        if self.records.len() == MAX_KEPT {
            self.records.pop_front();
            self.truncated = true;
        }
        self.records.push_back(record);
    }
}

/// `level and facility,number,microseconds,flags;text`, and further lines that begin with a space.
fn parse_record(record: &str) -> Option<(u64, LogRecord)> {
    let (head, text) = record.split_once(';')?;
    let mut fields = head.split(',');
    fields.next()?.parse::<u32>().ok()?;
    let number = fields.next()?.parse().ok()?;
    let since_boot = Duration::from_micros(fields.next()?.parse().ok()?);
    let text = text.lines().next().unwrap_or_default().to_owned();
    Some((number, LogRecord { since_boot: Some(since_boot), text }))
}

/// `[  170.330906] text` of dmesg, or `Nov 29 10:00:00 host kernel: text` of journalctl.
fn parse_line(line: &str) -> LogRecord {
    let stamped = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let of_stamp = stamped.and_then(|(stamp, text)| {
        let since_boot = Duration::try_from_secs_f64(stamp.trim().parse().ok()?).ok()?;
        // The text may begin with a space of its own, as of a device without a driver.
        Some((Some(since_boot), text.strip_prefix(' ').unwrap_or(text)))
    });
    let (since_boot, text) =
        of_stamp.unwrap_or_else(|| (None, line.split_once(" kernel: ").map_or(line, |(_, text)| text)));
    LogRecord { since_boot, text: text.to_owned() }
}

/// When this host booted, by the clock of the kernel's log, which is not running during suspend.
#[must_use]
pub fn boot_time(now: SystemTime) -> Option<SystemTime> {
    let up = clock_gettime(ClockId::CLOCK_MONOTONIC).ok().map(Duration::from)?;
    now.checked_sub(up)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Answers each read with the next of its results, as the device does.
    struct Device(VecDeque<io::Result<&'static str>>);

    impl Read for Device {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let record = self.0.pop_front().unwrap_or_else(|| Err(Errno::EAGAIN.into()))?;
            Cursor::new(record).read(buffer)
        }
    }

    fn read(records: impl IntoIterator<Item = io::Result<&'static str>>) -> io::Result<KernelLog> {
        KernelLog::of(Device(records.into_iter().collect()), |text| text.contains("pfn"))
    }

    fn texts(log: &KernelLog) -> Vec<&str> {
        log.records.iter().map(|record| &*record.text).collect()
    }

    #[test]
    fn a_record_has_time_and_text() {
        let log = read([
            Ok("6,0,0,-;Linux version 6.12"),
            Ok("12,345,5140900,-,caller=T1;nd_pmem pfn0.0: hello; there\n SUBSYSTEM=nd\n DEVICE=+nd:pfn0.0\n"),
            Ok("no record of pfn"),
        ])
        .unwrap();
        let since_boot = Some(Duration::from_micros(5_140_900));
        let record = LogRecord { since_boot, text: "nd_pmem pfn0.0: hello; there".to_owned() };
        assert_eq!(log, KernelLog { records: [record].into(), truncated: false });
    }

    #[test]
    fn overwritten_and_long_records_do_not_end_the_reading() {
        let log = read([
            Ok("6,0,0,-;pfn a"),
            Err(Errno::EPIPE.into()),
            Err(Errno::EINVAL.into()),
            Err(Errno::EINTR.into()),
            Ok("6,9,0,-;pfn b"),
        ])
        .unwrap();
        assert_eq!((texts(&log), log.truncated), (vec!["pfn a", "pfn b"], true));
        assert!(read([Ok("6,7,0,-;pfn a")]).unwrap().truncated, "0 to 6 are gone");
        assert!(read([Err(Errno::EPERM.into())]).is_err());
    }

    #[test]
    fn only_the_last_records_are_kept() {
        let log =
            read(std::iter::once(Ok("6,0,0,-;pfn first")).chain((0..MAX_KEPT).map(|_| Ok("6,1,0,-;pfn")))).unwrap();
        assert_eq!((log.records.len(), log.truncated), (MAX_KEPT, true));
        assert_eq!(log.records[0].text, "pfn");
    }

    #[test]
    fn saved_logs_of_three_kinds() {
        let saved = "[  170.330906] dax_pmem dax0.0: pfn a\n\
                     [    5.100000]  pfn0.1: b\n\
                     Nov 29 10:00:00 host kernel: nd pfn0.0: c\n\
                     3,12,7000000,-;nd pfn0.0: d\n\
                     something else\n";
        let log = KernelLog::saved(saved.as_bytes(), |text| text.contains("pfn")).unwrap();
        assert_eq!(texts(&log), ["dax_pmem dax0.0: pfn a", " pfn0.1: b", "nd pfn0.0: c", "nd pfn0.0: d"]);
        let times: Vec<_> = log.records.iter().map(|record| record.since_boot.map(|time| time.as_micros())).collect();
        assert_eq!(times, [Some(170_330_906), Some(5_100_000), None, Some(7_000_000)]);
    }

    #[test]
    fn the_device_of_this_host_is_read_to_its_end_if_it_may_be() {
        match KernelLog::read(Path::new(KMSG), |_| true) {
            Ok(log) => assert!(log.records.len() <= MAX_KEPT),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), stamp in ".{0,40}") {
            let _ = KernelLog::saved(&*bytes, |_| true);
            let _ = KernelLog::saved(format!("[{stamp}] text\n{stamp};text").as_bytes(), |_| true);
        }
    }
}
