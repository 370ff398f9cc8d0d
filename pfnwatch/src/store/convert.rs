//! Between Rust's types and SQLite's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use uuid::Uuid;

/// Microseconds since 1970. A time outside of the range is the nearest limit.
pub(super) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).unwrap_or(UNIX_EPOCH)
}

/// A count or a number of bytes from SQLite.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn uuid(text: Option<String>) -> Option<Uuid> {
    text.and_then(|text| Uuid::try_parse(&text).ok())
}

pub(super) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
