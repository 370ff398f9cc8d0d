//! Where the event store is, and how much it keeps.

use crate::model::store::Settings;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::{Config, ConfigArgs};
use crate::model::exit::ExitContext;

/// Where the event store is.
#[derive(clap::Args, Clone, Debug)]
pub struct StoreArgs {
    /// The event store's file, instead of the configuration's
    #[arg(long = "store", value_name = "FILE")]
    store_file: Option<PathBuf>,
}

impl StoreArgs {
    /// The option that names the same file to another command.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let file = self.store_file.iter();
        file.flat_map(|file| ["--store".to_owned(), file.display().to_string()]).collect()
    }

    /// The configuration's, with the file that was named, if any.
    #[must_use]
    pub fn settings(&self, config: &Config) -> Settings {
        let configured = config.store();
        Settings { file: self.store_file.clone().or(configured.file), ..configured }
    }

    pub fn file(&self, config: &ConfigArgs) -> anyhow::Result<PathBuf> {
        // A file that was named needs no configuration.
        self.store_file.clone().map_or_else(|| self.file_in(&config.read()?), Ok)
    }

    pub fn file_in(&self, config: &Config) -> anyhow::Result<PathBuf> {
        let off = || {
            ExitContext::usage("the configuration has turned the event store off: --store names a file all the same")
        };
        self.settings(config).file.with_context(off)
    }
}
