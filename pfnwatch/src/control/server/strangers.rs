//! Who was refused stands in the log, and whoever asks in a loop does not fill it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// There is one line in this time at most.
const APART: Duration = Duration::from_secs(60);

/// Those who were refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<Refused>>);

#[derive(Debug, Default)]
struct Refused {
    /// When it was last said.
    said: Option<Instant>,
    /// How many it has not been said of since.
    unsaid: u64,
}

impl Strangers {
    /// Somebody with this user id was refused.
    pub(super) fn refused(&self, uid: u32, why: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = refused.line(uid, why, Instant::now()) {
            tracing::warn!("{line}");
        }
    }
}

impl Refused {
    /// What is to be said, if it is time.
    fn line(&mut self, uid: u32, why: &str, now: Instant) -> Option<String> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < APART) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        let more = match std::mem::take(&mut self.unsaid) {
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
        let (mut refused, start) = (Refused::default(), Instant::now());
        let first = refused.line(65534, WHY, start).unwrap();
        assert!(first.contains("user 65534") && first.ends_with(WHY), "{first}");
        for second in 1..60 {
            assert_eq!(refused.line(7, WHY, start + Duration::from_secs(second)), None);
        }
        let next = refused.line(7, WHY, start + APART).unwrap();
        assert!(next.contains("user 7") && next.ends_with("; 59 more were refused since the last such line"), "{next}");
        assert!(!refused.line(7, WHY, start + 2 * APART).unwrap().contains("more"));
    }
}
