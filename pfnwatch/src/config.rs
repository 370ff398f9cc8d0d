//! The configuration: one TOML file. What it does not say has its default; what it says wrongly is an error with its place.

mod alerts;
mod exemptions;
mod journal;
pub mod refusal;
mod thresholds;
mod web;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    alerts::AlertsPolicy,
    assess::Thresholds,
    exit::Because,
    journal::Settings as JournalSettings,
    policy::{Exemption, Mode, OnAgentExit, Policy},
};

pub use web::WebConfig;

use alerts::AlertsConfig;
use journal::JournalConfig;
use thresholds::ThresholdsConfig;

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
    guard: GuardConfig,
    journal: JournalConfig,
    thresholds: ThresholdsConfig,
    #[serde(deserialize_with = "exemptions::list")]
    exemptions: Vec<Exemption>,
    web: WebConfig,
    alerts: AlertsConfig,
}

/// A configuration as it was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The first 16 digits of its text's SHA-256: what `sha256sum` prints of the file.
    pub hash: String,
}

/// What the guard does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GuardConfig {
    /// Whether it refuses or reports.
    #[serde(with = "ModeName")]
    mode: Mode,
    /// What becomes of it when the agent goes.
    on_agent_exit: OnAgentExit,
}

/// How [`Mode`] is written.
#[derive(Deserialize)]
#[serde(remote = "Mode", rename_all = "snake_case")]
enum ModeName {
    Audit,
    Enforce,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let Policy { mode, on_agent_exit, .. } = Policy::default();
        Self { mode, on_agent_exit }
    }
}

impl ConfigArgs {
    /// Reads the configuration: the file that was named, else the usual one if it is there, else the defaults.
    ///
    /// # Errors
    /// The file cannot be read, or says something that makes no sense: exit code 2.
    pub fn read(&self) -> anyhow::Result<Config> {
        self.load().map(|loaded| loaded.config)
    }

    /// The same, with what tells one text from another.
    ///
    /// # Errors
    /// As [`ConfigArgs::read`].
    pub fn load(&self) -> anyhow::Result<Loaded> {
        let usual = Path::new(USUAL);
        let absent = self.config.is_none() && usual.try_exists().is_ok_and(|there| !there);
        let path = (!absent).then(|| self.path());
        let text = path.map(text_of).transpose()?.unwrap_or_default();
        let config = Config::parse(&text)
            .with_context(|| Because::usage(format!("the configuration {}", self.path().display())))?;
        Ok(Loaded { config, hash: short_hash(&text) })
    }
}

impl ConfigArgs {
    /// The file that is read, whether it is there or not.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(USUAL))
    }

    /// The same, where it is there.
    #[must_use]
    pub fn path_if_there(&self) -> Option<&Path> {
        Some(self.path()).filter(|path| path.exists())
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or says something that makes no sense: exit code 2.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = text_of(path)?;
        Self::parse(&text).with_context(|| Because::usage(format!("the configuration {}", path.display())))
    }

    /// Takes a whole configuration, or none of it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// What is worth a finding.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds.clone().into()
    }

    /// Where the web server listens.
    #[must_use]
    pub const fn web(&self) -> &WebConfig {
        &self.web
    }

    /// Who is told by the agent itself what is wrong.
    #[must_use]
    pub fn alerts(&self) -> AlertsPolicy {
        self.alerts.clone().into()
    }

    /// Where the journal is, and how much it keeps.
    #[must_use]
    pub fn journal(&self) -> JournalSettings {
        self.journal.clone().into()
    }

    /// What the guard judges by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let GuardConfig { mode, on_agent_exit } = self.guard;
        Policy { mode, thresholds: self.thresholds(), on_agent_exit, exemptions: self.exemptions.clone() }
    }
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("the configuration {} cannot be read", path.display()))
}

fn short_hash(text: &str) -> String {
    let mut hash = HEXLOWER.encode(&Sha256::digest(text));
    hash.truncate(16);
    hash
}

#[cfg(test)]
mod tests;
