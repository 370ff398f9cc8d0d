//! The table `[thresholds]`: what is worth a finding. Both limits must be passed.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::thresholds::Thresholds;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ThresholdsConfig {
    /// More than this many times the align.
    #[serde(deserialize_with = "aligns")]
    aligns: u64,
    /// More than this many percent of the namespace.
    #[serde(deserialize_with = "percent")]
    percent: f64,
    /// The struct page size of the ideal, in bytes.
    #[serde(deserialize_with = "reference_struct_page_bytes")]
    reference_struct_page_bytes: u64,
}

impl Default for ThresholdsConfig {
    fn default() -> Self {
        Self { aligns: 1, percent: 0.1, reference_struct_page_bytes: 64 }
    }
}

impl From<ThresholdsConfig> for Thresholds {
    fn from(table: ThresholdsConfig) -> Self {
        let ThresholdsConfig { aligns, percent, reference_struct_page_bytes } = table;
        // From 0 to 100 percent, as `percent` below has seen to: at most a million millionths.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000,000")]
        let parts_per_million = (percent * 10_000.0).round() as u64;
        Self { reference_struct_page: reference_struct_page_bytes, aligns, parts_per_million }
    }
}

/// Within the limits of [`pfnwatch_common::policy::is_oversize`].
fn aligns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let aligns = u64::deserialize(deserializer)?;
    if aligns <= u64::from(u32::MAX) {
        Ok(aligns)
    } else {
        Err(D::Error::custom(format!("aligns is {aligns}: it must be from 0 to {}", u32::MAX)))
    }
}

fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let percent = f64::deserialize(deserializer)?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err(D::Error::custom(format!("percent is {percent}: it must be from 0 to 100")))
    }
}

fn reference_struct_page_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(deserializer)?;
    if (1..=4096).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(D::Error::custom(format!("reference_struct_page_bytes is {bytes}: it must be from 1 to 4096")))
    }
}
