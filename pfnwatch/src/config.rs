//! The configuration: a TOML file, and drop-ins beside it. What they do not say has its default; what they say wrongly is an error
//! with its place.

mod alerts;
mod exemptions;
mod merge;
pub mod origin;
mod source;
mod store;
mod thresholds;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;

use crate::{
    model::exit::ExitContext,
    model::{
        alert::receiver::AlertsPolicy,
        policy::{Exemption, Mode, OnAgentExit, Policy},
        store::Settings as StoreSettings,
        thresholds::Thresholds,
    },
};

pub use self::source::ConfigFiles;
use crate::model::web_config::WebConfig;

use self::alerts::AlertsConfig;
use self::store::StoreConfig;
use self::thresholds::ThresholdsConfig;

/// Read where no other file is named, if it is there.
pub const DEFAULT_PATH: &str = "/etc/pfnwatch/pfnwatch.toml";

/// Where the configuration is.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Read the configuration from FILE [default: /etc/pfnwatch/pfnwatch.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take drop-ins (*.toml, in the order of their names) from DIR [default: conf.d beside the configuration]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

/// All that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    guard: GuardConfig,
    store: StoreConfig,
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
    /// What tells these texts from others: [`Sources::hash`].
    pub hash: String,
    /// The files; none where there is no file.
    pub files: Option<String>,
}

/// What the guard does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GuardConfig {
    /// Whether it refuses or reports.
    mode: Mode,
    /// What becomes of it when the agent goes.
    on_agent_exit: OnAgentExit,
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

    /// The same, with what tells one configuration from another.
    ///
    /// # Errors
    /// As [`ConfigArgs::read`].
    pub fn load(&self) -> anyhow::Result<Loaded> {
        let sources = self.sources()?;
        Ok(Loaded { config: Config::of(&sources)?, hash: sources.hash(), files: sources.names() })
    }

    /// The files as they are.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn sources(&self) -> anyhow::Result<ConfigFiles> {
        let absent = self.config.is_none() && self.path().try_exists().is_ok_and(|there| !there);
        let folder = self.config_dir.clone().unwrap_or_else(|| ConfigFiles::folder(self.path()));
        ConfigFiles::read((!absent).then(|| self.path()), &folder)
    }

    /// The main file, whether it is there or not.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }

    /// A configuration whose main file has to be there.
    #[must_use]
    pub const fn named(main: PathBuf, folder: Option<PathBuf>) -> Self {
        Self { config: Some(main), config_dir: folder }
    }
}

impl Config {
    /// Takes these files as one.
    ///
    /// # Errors
    /// One of them, or all together, say something that makes no sense: exit code 2.
    pub fn of(sources: &ConfigFiles) -> anyhow::Result<Self> {
        // Each by itself first, so that what is wrong is shown in its line.
        let mut last = Self::default();
        for source in sources.iter() {
            let path = || source.path.as_deref().unwrap_or(Path::new("(defaults)")).display();
            last = Self::parse(&source.text)
                .with_context(|| ExitContext::usage(format!("the configuration {}", path())))?;
        }
        if sources.iter().count() < 2 {
            return Ok(last);
        }
        let merged = merge::merged(sources).and_then(|table| Self::deserialize(toml::Deserializer::from(table)));
        merged.map_err(|error| {
            let place = error.span().and_then(|span| sources.place(span.start));
            let place = place.map(|it| it.to_string()).or_else(|| sources.names()).unwrap_or_default();
            anyhow!("{}", error.message()).context(ExitContext::usage(format!("the configuration {place}")))
        })
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

    /// Where the event store is, and how much it keeps.
    #[must_use]
    pub fn store(&self) -> StoreSettings {
        self.store.clone().into()
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
