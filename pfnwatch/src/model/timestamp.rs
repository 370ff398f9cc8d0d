//! A point of time to the second, as people read it.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::event::Time;

/// A point of time in whole seconds: RFC 3339 in UTC, as text and as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(SystemTime);

impl Timestamp {
    /// Seconds since 1970; 0 for earlier times.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Time(self.0).seconds().fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn json_is_rfc_3339_to_the_second() {
        let time = Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_767_323_045_678));
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!((json.as_str(), time.unix_seconds()), ("\"2026-01-02T03:04:05Z\"", 1_767_323_045));
        let read: Timestamp = serde_json::from_str(&json).unwrap();
        assert_eq!((read.to_string(), read.unix_seconds()), (time.to_string(), time.unix_seconds()));
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }
}
