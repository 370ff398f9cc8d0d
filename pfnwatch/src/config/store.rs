//! The table `[store]`: where the event store is, and how much it keeps.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::store::Settings;
use crate::model::units::parse_size;

/// From the smallest useful size to what no sum of pages exceeds.
const SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;
const MIN_MAX_AGE: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreConfig {
    enabled: bool,
    #[serde(deserialize_with = "file")]
    file: PathBuf,
    #[serde(deserialize_with = "max_age")]
    max_age: Duration,
    #[serde(deserialize_with = "max_size")]
    max_size: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let Settings { file, max_age, max_size_bytes: max_size } = Settings::default();
        Self { enabled: true, file: file.unwrap_or_default(), max_age, max_size }
    }
}

impl From<StoreConfig> for Settings {
    fn from(table: StoreConfig) -> Self {
        let StoreConfig { enabled, file, max_age, max_size } = table;
        Self { file: enabled.then_some(file), max_age, max_size_bytes: max_size }
    }
}

/// A damaged store is renamed: its name must not collide with another file.
fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let file = PathBuf::deserialize(deserializer)?;
    if file.is_absolute() && file.extension().is_some_and(|extension| extension == "db") {
        return Ok(file);
    }
    let shown = file.display();
    Err(D::Error::custom(format!("file is \"{shown}\": it must be a whole path that ends in .db, as /var/lib/x/y.db")))
}

fn max_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |why: String| D::Error::custom(format!("max_age is \"{text}\": {why}, as \"90days\" or \"1year\""));
    match humantime::parse_duration(&text) {
        Ok(age) if age >= MIN_MAX_AGE => Ok(age),
        Ok(_) => Err(wrong("it must be an hour at least".to_owned())),
        Err(error) => Err(wrong(format!("it must be a time ({error})"))),
    }
}

fn max_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let size = parse_size(&text).map_err(|error| D::Error::custom(format!("max_size: {error}")))?;
    if SIZES.contains(&size) {
        return Ok(size);
    }
    Err(D::Error::custom(format!("max_size is \"{text}\": it must be from 1MiB to 1TiB")))
}
