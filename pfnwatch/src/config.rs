//! The configuration: one TOML file. What it does not say has its default; what it says wrongly is an error with its place.

mod alerts;
mod exemptions;
mod journal;
mod thresholds;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::{
    alerts::AlertsPolicy,
    assess::Thresholds,
    exit::Because,
    journal::Settings as JournalSettings,
    policy::{Exemption, Mode, OnAgentExit, Policy},
};

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
    alerts: AlertsConfig,
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
        match &self.config {
            Some(path) => Config::read(path),
            None if Path::new(USUAL).try_exists().is_ok_and(|there| !there) => Ok(Config::default()),
            None => Config::read(Path::new(USUAL)),
        }
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
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("the configuration {shown} cannot be read"))?;
        Self::parse(&text).with_context(|| Because::usage(format!("the configuration {shown}")))
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

#[cfg(test)]
mod tests;
