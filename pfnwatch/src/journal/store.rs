//! The journal as the agent has it: open, or not, and then why.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::Connection;

use super::{Health, Settings, error::Error, open::open};

/// The journal.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    connection: Option<Connection>,
    health: Health,
}

impl Journal {
    /// No journal at all.
    #[must_use]
    pub fn off() -> Self {
        Self::open(Settings { file: None, ..Settings::default() })
    }

    /// Opens the journal. Where that fails there is none, and [`Self::health`] says why.
    #[must_use]
    pub fn open(settings: Settings) -> Self {
        let health = Health { file: settings.file.clone(), ..Health::default() };
        let mut journal = Self { settings, connection: None, health };
        journal.reopen();
        journal
    }

    /// How it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        let size_bytes = self.health.file.as_deref().map_or(0, size);
        Health { size_bytes, ..self.health.clone() }
    }

    /// Reads from it; none where that cannot be done.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let result = work(self.connection.as_ref()?);
        result.map_err(|error| self.trouble(&error.into())).ok()
    }

    /// Writes to it; none where that cannot be done, or failed the last time: [`Self::retry`] is what tries again.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        if self.health.error.is_some() {
            return None;
        }
        let result = work(self.connection.as_mut()?);
        result.map_err(|error| self.trouble(&error.into())).ok()
    }

    /// Tries again where the journal takes nothing.
    pub fn retry(&mut self) {
        if self.health.error.is_some() {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let Some(file) = self.settings.file.clone() else { return };
        self.connection = None;
        let opened = open(&file).or_else(|error| {
            if !error.is_damage() {
                return Err(error);
            }
            self.set_aside(&file, &error)?;
            open(&file)
        });
        match opened {
            Ok(connection) => {
                self.connection = Some(connection);
                self.health.error = None;
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Something failed that is the journal's own: the agent goes on without it.
    fn trouble(&mut self, error: &Error) {
        self.complain(error);
        if error.is_damage() {
            // The new file can be written to at once.
            self.connection = None;
            let Some(file) = self.settings.file.clone() else { return };
            match self.set_aside(&file, error) {
                Ok(()) => self.reopen(),
                Err(error) => self.complain(&error),
            }
        }
    }

    /// Says what is wrong, once.
    fn complain(&mut self, error: &Error) {
        let text = error.to_string();
        if self.health.error.as_deref() != Some(&text) {
            tracing::error!("the journal takes nothing, and events are told uncommitted: {text}");
        }
        self.health.error = Some(text);
    }

    /// Moves a damaged file out of the way, with the files that SQLite keeps beside it.
    fn set_aside(&mut self, file: &Path, why: &Error) -> Result<(), Error> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let aside = beside(file, &format!(".damaged-{now}"));
        for suffix in ["", "-wal", "-shm"] {
            match fs::rename(beside(file, suffix), beside(&aside, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::File { file: file.to_owned(), error });
                }
                _ => {}
            }
        }
        tracing::error!(
            "the journal {} is damaged ({why}): it is {} now, and a new one begins",
            file.display(),
            aside.display()
        );
        self.health.set_aside = Some(aside);
        Ok(())
    }
}

/// The file with more behind its name.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What the file and its log take.
fn size(file: &Path) -> u64 {
    ["", "-wal"].iter().filter_map(|suffix| fs::metadata(beside(file, suffix)).ok()).map(|it| it.len()).sum()
}
