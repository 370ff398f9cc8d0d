//! Failures in the kernel's log. A driver names the pfn or dax device; the line of the driver core after it names the
//! namespace whose probe failed.

use std::time::{Duration, SystemTime};

use super::kernel_message::{KernelMessage, LoggedMessage};
use crate::model::event::Time;
use crate::model::why::{FailureEvidence, Finding, LogRecord};

/// So much later the driver core reports the same failure at most: an enable of the largest namespaces takes a minute, but
/// validation comes last before the error.
const SAME_FAILURE: Duration = Duration::from_secs(1);

/// A message with its line.
struct Line<'a> {
    logged: LoggedMessage,
    record: &'a LogRecord,
}

/// The findings of a log, the oldest first. Their times need the time of the boot.
#[must_use]
pub fn of_log<'a>(records: impl IntoIterator<Item = &'a LogRecord>, boot: Option<SystemTime>) -> Vec<Finding> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for record in records {
        let Some(logged) = LoggedMessage::parse(&record.text) else { continue };
        match lines.last_mut().filter(|last| last.is_explained_by(&logged, record)) {
            Some(last) => {
                let namespace = Some(logged.device).filter(|device| device.is_namespace());
                last.logged.namespace = last.logged.namespace.take().or(namespace);
            }
            None => lines.push(Line { logged, record }),
        }
    }
    lines.into_iter().map(|line| line.finding(boot)).collect()
}

impl Line<'_> {
    /// Whether `next` is the driver core's report of this failure.
    fn is_explained_by(&self, next: &LoggedMessage, record: &LogRecord) -> bool {
        let mine = &self.logged;
        let is_report = matches!(next.message, KernelMessage::ProbeFailed { .. });
        let is_detail = !matches!(mine.message, KernelMessage::ProbeFailed { .. });
        let same = mine.device == next.device
            || mine.namespace.is_none() && next.device.is_namespace() && mine.device.region() == next.device.region();
        let times = self.record.since_boot.zip(record.since_boot);
        let soon = times.is_none_or(|(first, second)| second.saturating_sub(first) <= SAME_FAILURE);
        is_report && is_detail && same && soon
    }

    fn finding(self, boot: Option<SystemTime>) -> Finding {
        let answer = self.logged.answer();
        let time = boot.zip(self.record.since_boot).and_then(|(boot, since)| boot.checked_add(since));
        Finding {
            namespace: self.logged.namespace.map(|name| name.to_string()),
            device: Some(self.logged.device.to_string()),
            evidence: FailureEvidence::KernelLog,
            time: time.map(|time| Time(time).to_string()),
            quote: Some(self.record.text.trim().to_owned()),
            answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;
    use crate::model::why::FailureCause;

    fn log(lines: &[(u64, &str)]) -> Vec<LogRecord> {
        let record = |(ms, text): &(u64, &str)| LogRecord {
            since_boot: Some(Duration::from_millis(*ms)),
            text: (*text).to_owned(),
        };
        lines.iter().map(record).collect()
    }

    fn found(lines: &[(u64, &str)]) -> Vec<(Option<String>, String, FailureCause)> {
        let records = log(lines);
        let all = of_log(&records, Some(UNIX_EPOCH)).into_iter();
        all.map(|it| (it.namespace, it.device.unwrap_or_default(), it.answer.cause)).collect()
    }

    fn named(namespace: &str, device: &str, cause: FailureCause) -> (Option<String>, String, FailureCause) {
        (Some(namespace.to_owned()), device.to_owned(), cause)
    }

    /// An enable whose block is refused, as 6.1 and 6.12 log it: the pfn device is not registered yet, so that it has no bus.
    #[test]
    fn the_line_of_the_driver_core_names_the_namespace() {
        let detail = (1000, " pfn0.1: init failed, struct page size mismatch 32");
        let mismatch = named("namespace0.0", "pfn0.1", FailureCause::StructPageSizeMismatch);
        for report in [
            "nd_pmem namespace0.0: probe with driver nd_pmem failed with error -95",
            "nd_pmem: probe of namespace0.0 failed with error -95",
        ] {
            assert_eq!(found(&[detail, (1001, report)]), std::slice::from_ref(&mismatch));
            // Later, or of another region: two failures.
            assert_eq!(found(&[detail, (2500, report)]).len(), 2, "{report}");
            let other = report.replace("namespace0.0", "namespace1.0");
            assert_eq!(found(&[detail, (1001, &other)]).len(), 2, "{report}");
        }
    }

    #[test]
    fn a_report_alone_has_the_error() {
        let report = "nd_pmem namespace0.0: probe with driver nd_pmem failed with error -95";
        let alone = named("namespace0.0", "namespace0.0", FailureCause::NotSupported);
        assert_eq!(found(&[(5, report)]), std::slice::from_ref(&alone));
        // The second explains nothing of the first.
        assert_eq!(found(&[(5, report), (6, report)]), [alone.clone(), alone]);
        assert_eq!(found(&[(5, "usb 1-1: new device"), (6, "EXT4-fs (pmem0): mounted")]), []);
    }

    #[test]
    fn time_and_line_are_kept() {
        let records = log(&[(1500, "dax_pmem dax0.0: namespace0.1 unable to satisfy requested alignment")]);
        let found = of_log(&records, Some(UNIX_EPOCH)).remove(0);
        assert_eq!(found.time.as_deref(), Some("1970-01-01T00:00:01.500000Z"));
        assert_eq!(found.quote.as_deref(), Some(&*records[0].text));
        assert_eq!(of_log(&records, None)[0].time, None);
    }

    proptest! {
        #[test]
        fn no_log_panics(lines in proptest::collection::vec((any::<u64>(), "[a-z_]{0,8} (pfn|namespace)[0-9]{0,2}\\.[0-9]: .{0,60}"), 0..8)) {
            let records: Vec<_> = lines.iter().map(|(ms, text)| (*ms, text.as_str())).collect();
            let _ = of_log(&log(&records), None);
        }
    }
}
