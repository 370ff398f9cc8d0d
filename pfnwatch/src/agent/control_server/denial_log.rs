//! Denied requests are logged, but requests in a loop do not fill the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// There is one line in this time at most.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Logs denied requests.
#[derive(Clone, Debug, Default)]
pub(super) struct DenialLog(Arc<Mutex<DenialRate>>);

#[derive(Debug, Default)]
struct DenialRate {
    /// When a denial was last logged.
    logged_at: Option<Instant>,
    /// How many denials were not logged since.
    suppressed: u64,
}

impl DenialLog {
    /// A request of this user was denied.
    pub(super) fn record(&self, uid: u32, reason: &str) {
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = rate.line(uid, reason, Instant::now()) {
            tracing::warn!("{line}");
        }
    }
}

impl DenialRate {
    /// The line to log, if it is time.
    fn line(&mut self, uid: u32, reason: &str, now: Instant) -> Option<String> {
        if self.logged_at.is_some_and(|logged| now.saturating_duration_since(logged) < MIN_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.logged_at = Some(now);
        let more = match std::mem::take(&mut self.suppressed) {
            0 => String::new(),
            suppressed => format!("; {suppressed} more were refused since the last such line"),
        };
        Some(format!("user {uid} was refused at the control socket: {reason}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute_and_counted_meanwhile() {
        const WHY: &str = "only root may use the agent";
        let (mut refused, start) = (DenialRate::default(), Instant::now());
        let first = refused.line(65534, WHY, start).unwrap();
        assert!(first.contains("user 65534") && first.ends_with(WHY), "{first}");
        for second in 1..60 {
            assert_eq!(refused.line(7, WHY, start + Duration::from_secs(second)), None);
        }
        let next = refused.line(7, WHY, start + MIN_INTERVAL).unwrap();
        assert!(next.contains("user 7") && next.ends_with("; 59 more were refused since the last such line"), "{next}");
        assert!(!refused.line(7, WHY, start + 2 * MIN_INTERVAL).unwrap().contains("more"));
    }
}
