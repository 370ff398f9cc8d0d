//! How long to wait before the next attempt.

use std::time::Duration;

const MIN_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A receiver that works again gets the next message within this time.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);

/// The pause after so many failed attempts: 5 s, doubled with each, up to 5 min; `chance` (any number) picks from the
/// upper half, so that a fleet does not retry at once.
#[must_use]
pub fn retry_delay(attempts: u32, chance: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = MIN_RETRY_DELAY.saturating_mul(1 << doublings).min(MAX_RETRY_DELAY);
    let half = whole / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(chance % (millis + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_its_end() {
        let longest = |attempts| (0..5000).map(|chance| retry_delay(attempts, chance * 31)).max().unwrap().as_secs();
        assert_eq!([1, 2, 3, 4].map(longest), [5, 10, 19, 39]);
        assert!(
            retry_delay(7, 149_999) > Duration::from_secs(299) && retry_delay(u32::MAX, 150_000) == MAX_RETRY_DELAY
        );
    }

    proptest! {
        #[test]
        fn it_is_never_nothing_and_never_longer_than_the_longest(attempts: u32, chance: u64) {
            let pause = retry_delay(attempts, chance);
            prop_assert!((MIN_RETRY_DELAY / 2..=MAX_RETRY_DELAY).contains(&pause));
        }
    }
}
