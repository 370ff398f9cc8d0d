//! The journal as the agent has it: open, or not, and then why.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;

use super::{
    error::StoreError,
    events::{PendingEvents, set_first_number},
    open::open,
};
use crate::model::{
    event::{Event, Time},
    store::{Settings, StoreHealth},
};

/// So many damaged files are set aside at most while the agent runs: a disk that damages each new one must not be filled.
const MAX_SET_ASIDE: u32 = 8;

/// The journal.
#[derive(Debug)]
pub struct EventStore {
    pub(super) settings: Settings,
    /// Renders the line for people that is kept with each event.
    pub(super) render: fn(&Event) -> String,
    connection: Option<Connection>,
    /// Which file that is, by device and inode.
    identity: Option<(u64, u64)>,
    pub(super) health: StoreHealth,
    /// How many files were set aside.
    set_aside: u32,
    /// What was complained of last, so that it is not said again.
    logged_error: Option<String>,
    pub(super) pending: PendingEvents,
    /// The last number that an event got.
    pub(super) last_number: i64,
    /// How many commits and events SQLite's log may have.
    pub(super) writes_since_checkpoint: usize,
    /// When what was too old was deleted last.
    pub(super) last_retention: Option<SystemTime>,
    /// Whether the file has nothing of what was remembered before.
    pub(super) is_new_file: bool,
}

impl EventStore {
    /// No journal at all.
    #[must_use]
    pub fn disabled() -> Self {
        Self::open(Settings { file: None, ..Settings::default() }, |_| String::new())
    }

    /// Opens the journal. Where that fails there is none, and [`Self::health`] says why.
    #[must_use]
    pub fn open(settings: Settings, render: fn(&Event) -> String) -> Self {
        let health = StoreHealth { file: settings.file.clone(), ..StoreHealth::default() };
        let mut journal = Self {
            settings,
            render,
            connection: None,
            identity: None,
            health,
            set_aside: 0,
            logged_error: None,
            pending: PendingEvents::default(),
            last_number: 0,
            writes_since_checkpoint: 0,
            last_retention: None,
            is_new_file: false,
        };
        journal.reopen();
        journal
    }

    /// Whether there is to be no journal.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.settings.file.is_none()
    }

    /// How it stands.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        let size_bytes = self.health.file.as_deref().map_or(0, size);
        StoreHealth { size_bytes, ..self.health.clone() }
    }

    /// Reads from it; none where that cannot be done.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let result = work(self.connection.as_ref()?);
        result.map_err(|error| self.on_error(error.into())).ok()
    }

    /// Writes to it; none where that cannot be done, or failed the last time: [`Self::check`] is what tries again.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        if self.health.error.is_some() {
            return None;
        }
        let result = work(self.connection.as_mut()?);
        result.map_err(|error| self.on_error(error.into())).ok()
    }

    /// Opens the file again where it takes nothing, or where it was removed or replaced by another.
    pub(super) fn reopen_if_needed(&mut self) {
        let Some(file) = &self.settings.file else { return };
        if self.health.error.is_some() || self.identity != identity(file) {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let Some(file) = self.settings.file.clone() else { return };
        // What is open is closed first: it may be the same file.
        self.connection = None;
        let opened =
            open(&file).or_else(|error| if error.is_damage() { self.recreate(&file, &error) } else { Err(error) });
        self.attach(&file, opened);
    }

    /// Goes on with what was opened, or without.
    fn attach(&mut self, file: &Path, opened: Result<Connection, StoreError>) {
        // A file that was put in the place of ours must not give numbers again that were given.
        let begin = |connection: Connection| Ok((set_first_number(&connection, self.last_number)?, connection));
        match opened.and_then(begin) {
            Ok((is_another, connection)) => {
                self.is_new_file |= is_another;
                self.identity = identity(file);
                self.connection = Some(connection);
                self.health.error = None;
            }
            Err(error) => self.report_error(&error.in_file(file)),
        }
    }

    /// Something failed that is the journal's own: the agent goes on without it.
    fn on_error(&mut self, error: StoreError) {
        let Some(file) = self.settings.file.clone() else { return };
        let error = error.in_file(&file);
        if !error.is_damage() {
            return self.report_error(&error);
        }
        self.connection = None;
        let begun = self.recreate(&file, &error);
        self.attach(&file, begun);
    }

    /// Says what is wrong, once.
    fn report_error(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.logged_error.as_deref() != Some(&text) {
            tracing::error!("the event store takes nothing, and events are told uncommitted: {text}");
            self.logged_error = Some(text.clone());
        }
        self.health.error = Some(text);
    }

    /// The journal has taken something, with what was held for it.
    pub(super) fn report_recovery(&mut self, held: &PendingEvents) {
        if self.logged_error.take().is_some() {
            tracing::info!(
                "the event store takes events again: {} that were told uncommitted are in it",
                held.events.len()
            );
        }
        if held.dropped > 0 {
            tracing::error!(
                "{} events that were told uncommitted are not in the event store: there were too many",
                held.dropped
            );
        }
    }

    /// Moves a damaged file out of the way, with the files that SQLite keeps beside it, and makes another.
    fn recreate(&mut self, file: &Path, why: &StoreError) -> Result<Connection, StoreError> {
        if self.set_aside == MAX_SET_ASIDE {
            return Err(StoreError::DamagedAgain { file: file.to_owned() });
        }
        self.set_aside += 1;
        let now = SystemTime::now();
        let aside = sibling(file, &format!(".damaged-{}", Time(now)));
        for suffix in ["-wal", "-shm", ""] {
            match fs::rename(sibling(file, suffix), sibling(&aside, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::File { file: file.to_owned(), error });
                }
                _ => {}
            }
        }
        tracing::error!(
            "the event store {} is damaged ({why}): it is {} now, and a new one begins",
            file.display(),
            aside.display()
        );
        self.health.set_aside = Some(aside);
        self.health.events = 0;
        self.is_new_file = true;
        let connection = open(file)?;
        // Which numbers were given is not known where the agent has just started: past all of them lie the milliseconds.
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if self.last_number == 0 {
            self.last_number = i64::try_from(millis).unwrap_or(0);
        }
        Ok(connection)
    }
}

/// The file with more behind its name.
pub(super) fn sibling(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|it| (it.dev(), it.ino()))
}

/// What the file and its log take.
fn size(file: &Path) -> u64 {
    ["", "-wal"].iter().filter_map(|suffix| fs::metadata(sibling(file, suffix)).ok()).map(|it| it.len()).sum()
}
