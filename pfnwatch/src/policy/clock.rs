//! A wall clock that does not go back: an exemption that has ended stays ended.

use std::time::{Duration, SystemTime};

use pfnwatch_common::policy::NO_EXPIRY;

/// The wall time and the time since boot at one moment. The wall time never runs behind an earlier reading and the time
/// since. A clock that is set back (by hand, by a broken RTC) so revives no exemption while the agent runs; one that is
/// set forward ends them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    wall: SystemTime,
    boot_ns: u64,
}

impl Clock {
    /// Starts with a reading of CLOCK_REALTIME and one of CLOCK_BOOTTIME. Read the wall clock first: if the thread is
    /// interrupted in between, the wall time is then behind by that for a moment, and not ahead forever.
    #[must_use]
    pub const fn start(wall: SystemTime, boot_ns: u64) -> Self {
        Self { wall, boot_ns }
    }

    pub fn follow(&mut self, wall: SystemTime, boot_ns: u64) {
        let elapsed = Duration::from_nanos(boot_ns.saturating_sub(self.boot_ns));
        let at_least = self.wall.checked_add(elapsed).unwrap_or(self.wall);
        *self = Self { wall: wall.max(at_least), boot_ns: boot_ns.max(self.boot_ns) };
    }

    #[must_use]
    pub const fn wall(&self) -> SystemTime {
        self.wall
    }

    /// Nanoseconds since boot, suspend included.
    #[must_use]
    pub const fn boot_ns(&self) -> u64 {
        self.boot_ns
    }

    /// `until` in nanoseconds since boot; `None` if it has passed.
    #[must_use]
    pub fn boot_ns_at(&self, until: SystemTime) -> Option<u64> {
        let left = until.duration_since(self.wall).ok().filter(|left| !left.is_zero())?;
        let left = u64::try_from(left.as_nanos()).unwrap_or(NO_EXPIRY);
        // Five centuries on is an end all the same.
        Some(self.boot_ns.saturating_add(left).min(NO_EXPIRY - 1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_end_is_told_in_boot_time() {
        let clock = Clock::start(at(1000), 50 * SECOND);
        assert_eq!(clock.boot_ns_at(at(1010)), Some(60 * SECOND));
        assert_eq!(clock.boot_ns_at(at(1000)), None, "now is too late");
        assert_eq!(clock.boot_ns_at(at(999)), None);
        assert_eq!(clock.boot_ns_at(at(1 << 40)), Some(NO_EXPIRY - 1), "far off is not for ever");
    }

    #[test]
    fn set_back_it_goes_on_and_set_forward_it_follows() {
        let mut clock = Clock::start(at(1000), 50 * SECOND);
        clock.follow(at(500), 70 * SECOND);
        assert_eq!(clock.wall(), at(1020), "as if nobody had touched it");
        assert_eq!(clock.boot_ns_at(at(1015)), None, "what ended stays ended");
        clock.follow(at(5000), 71 * SECOND);
        assert_eq!(clock.wall(), at(5000));
        clock.follow(at(1022), 72 * SECOND);
        assert_eq!((clock.wall(), clock.boot_ns()), (at(5001), 72 * SECOND));
    }

    proptest! {
        /// Whatever is read: the wall time is never behind the first reading and the time since, nor behind the last.
        #[test]
        fn it_never_runs_behind(first in 0_u64..1 << 40, readings in proptest::collection::vec((0_u64..1 << 40, 0_u64..1 << 30), 1..20)) {
            let mut clock = Clock::start(at(first), 0);
            let mut elapsed = 0;
            for (wall, step) in readings {
                elapsed += step;
                let before = clock.wall();
                clock.follow(at(wall), elapsed * SECOND);
                prop_assert!(clock.wall() >= at(first + elapsed));
                prop_assert!(clock.wall() >= at(wall));
                prop_assert!(clock.wall() >= before + Duration::from_secs(step));
            }
        }
    }
}
