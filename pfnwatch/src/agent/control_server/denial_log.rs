//! Who was refused stands in the log, and whoever asks in a loop does not fill it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// There is one line in this time at most.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Those who were refused.
#[derive(Clone, Debug, Default)]
pub(super) struct DenialLog(Arc<Mutex<DenialRate>>);

#[derive(Debug, Default)]
struct DenialRate {
    /// When it was last said.
    logged_at: Option<Instant>,
    /// How many it has not been said of since.
    suppressed: u64,
}

impl DenialLog {
    /// Somebody with this user id was refused.
    pub(super) fn record(&self, uid: u32, why: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = refused.line(uid, why, Instant::now()) {
            tracing::warn!("{line}");
        }
    }
}

impl DenialRate {
    /// What is to be said, if it is time.
    fn line(&mut self, uid: u32, why: &str, now: Instant) -> Option<String> {
        if self.logged_at.is_some_and(|said| now.saturating_duration_since(said) < MIN_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.logged_at = Some(now);
        let more = match std::mem::take(&mut self.suppressed) {
            0 => String::new(),
            unsaid => format!("; {unsaid} more were refused since the last such line"),
        };
        Some(format!("user {uid} asked at the control socket and was refused: {why}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute_and_counted_meanwhile() {
        const WHY: &str = "only root may ask the agent";
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
