//! The configuration: one TOML file. What it does not say has its default; what it says wrongly is an error with its place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::{assess::Thresholds, exit::Because};

/// Read where no other file is named, if it is there.
pub const USUAL: &str = "/etc/pfnwatch/pfnwatch.toml";

/// Where the configuration is.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Read the configuration from FILE [default: /etc/pfnwatch/pfnwatch.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// All that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    thresholds: ThresholdsConfig,
}

/// What is worth a finding. Both limits must be passed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ThresholdsConfig {
    /// More than this many times the align.
    aligns: u64,
    /// More than this many percent of the namespace.
    percent: f64,
    /// The struct page size of the ideal, in bytes.
    reference_struct_page_bytes: u64,
}

impl Default for ThresholdsConfig {
    fn default() -> Self {
        Self { aligns: 1, percent: 0.1, reference_struct_page_bytes: 64 }
    }
}

impl ConfigArgs {
    /// Reads the configuration: the file that was named, else the usual one if it is there, else the defaults.
    ///
    /// # Errors
    /// The file cannot be read, or says something that makes no sense: exit code 2.
    pub fn read(&self) -> anyhow::Result<Config> {
        let path = self.config.as_deref().unwrap_or(Path::new(USUAL));
        match fs::read_to_string(path) {
            Ok(text) => {
                Config::parse(&text).with_context(|| Because::usage(format!("the configuration {}", path.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => Ok(Config::default()),
            Err(error) => Err(error).with_context(|| format!("the configuration {} cannot be read", path.display())),
        }
    }
}

impl Config {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        let ThresholdsConfig { percent, reference_struct_page_bytes, .. } = config.thresholds;
        anyhow::ensure!((0.0..=100.0).contains(&percent), "thresholds.percent is {percent}: it must be from 0 to 100");
        anyhow::ensure!(
            (1..=4096).contains(&reference_struct_page_bytes),
            "thresholds.reference_struct_page_bytes is {reference_struct_page_bytes}: it must be from 1 to 4096"
        );
        Ok(config)
    }

    /// What is worth a finding.
    pub fn thresholds(&self) -> Thresholds {
        let ThresholdsConfig { aligns, percent, reference_struct_page_bytes } = self.thresholds;
        // From 0 to 100 percent, as `parse` has seen to: at most a million millionths.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000,000")]
        let parts_per_million = (percent * 10_000.0).round() as u64;
        Thresholds { reference_struct_page: reference_struct_page_bytes, aligns, parts_per_million }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        let config = Config::parse("").expect("empty");
        assert_eq!(config, Config::default());
        assert_eq!(config.thresholds(), Thresholds::default());
    }

    #[test]
    fn thresholds_are_taken() {
        let config =
            Config::parse("[thresholds]\naligns = 2\npercent = 1.5\nreference_struct_page_bytes = 32").expect("good");
        let expected = Thresholds { reference_struct_page: 32, aligns: 2, parts_per_million: 15_000 };
        assert_eq!(config.thresholds(), expected);
    }

    #[test]
    fn the_example_is_the_default() {
        let example = include_str!("../dist/pfnwatch.toml");
        assert_eq!(Config::parse(example).expect("the example"), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, said) in [
            ("[thresholds]\npercant = 1", "line 2, column 1"),
            ("[thresholds]\npercent = 101", "from 0 to 100"),
            ("[thresholds]\npercent = nan", "from 0 to 100"),
            ("[thresholds]\nreference_struct_page_bytes = 0", "from 1 to 4096"),
            ("[thresholds", "line 1"),
            ("[thresholds]\naligns = -1", "line 2"),
        ] {
            let error = format!("{:#}", Config::parse(text).expect_err(text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
