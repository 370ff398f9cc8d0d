//! The configuration: a TOML file, and drop-ins beside it. Missing keys have defaults; an invalid one is an error with
//! its place.

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

use crate::model::alert::AlertsPolicy;
use crate::model::exit::ExitContext;
use crate::model::policy::{Exemption, Mode, OnAgentExit, Policy};
use crate::model::store::Settings as StoreSettings;
use crate::model::thresholds::Thresholds;

pub use self::source::ConfigFiles;
use crate::model::web_config::WebConfig;

use self::alerts::AlertsConfig;
use self::store::StoreConfig;
use self::thresholds::ThresholdsConfig;

/// Read if no other file is named and this one exists.
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

#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub hash: String,
    /// `None` if there is no file.
    pub files: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GuardConfig {
    mode: Mode,
    on_agent_exit: OnAgentExit,
    require_effective: bool,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let Policy { mode, on_agent_exit, .. } = Policy::default();
        Self { mode, on_agent_exit, require_effective: false }
    }
}

impl ConfigArgs {
    /// Reads the configuration: the file that was named, else the default file if it exists, else the defaults.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid: exit code 2.
    pub fn read(&self) -> anyhow::Result<Config> {
        self.load().map(|loaded| loaded.config)
    }

    pub fn load(&self) -> anyhow::Result<Loaded> {
        let sources = self.sources()?;
        Ok(Loaded { config: Config::of(&sources)?, hash: sources.hash(), files: sources.names() })
    }

    pub fn sources(&self) -> anyhow::Result<ConfigFiles> {
        let absent = self.config.is_none() && self.path().try_exists().is_ok_and(|there| !there);
        let folder = self.config_dir.clone().unwrap_or_else(|| ConfigFiles::folder(self.path()));
        ConfigFiles::read((!absent).then(|| self.path()), &folder)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }

    /// The options that name the same configuration to another command.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let given = [("--config", &self.config), ("--config-dir", &self.config_dir)];
        let given = given.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)));
        given.flat_map(|(option, path)| [option.to_owned(), path.display().to_string()]).collect()
    }

    /// A configuration whose main file must exist.
    #[must_use]
    pub const fn named(main: PathBuf, folder: Option<PathBuf>) -> Self {
        Self { config: Some(main), config_dir: folder }
    }
}

impl Config {
    /// Parses these files as one configuration.
    ///
    /// # Errors
    /// A file, or their combination, is not valid: exit code 2.
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

    /// Accepts a whole configuration, or none of it.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds.clone().into()
    }

    #[must_use]
    pub const fn web(&self) -> &WebConfig {
        &self.web
    }

    #[must_use]
    pub fn alerts(&self) -> AlertsPolicy {
        self.alerts.clone().into()
    }

    #[must_use]
    pub fn store(&self) -> StoreSettings {
        self.store.clone().into()
    }

    /// Whether an agent ends that should enforce and does not.
    #[must_use]
    pub const fn requires_effective(&self) -> bool {
        self.guard.require_effective
    }

    #[must_use]
    pub fn policy(&self) -> Policy {
        let GuardConfig { mode, on_agent_exit, .. } = self.guard;
        Policy { mode, thresholds: self.thresholds(), on_agent_exit, exemptions: self.exemptions.clone() }
    }
}

#[cfg(test)]
mod tests;
