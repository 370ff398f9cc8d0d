//! The event store of the agent. It is open, or [`EventStore::health`] gives the reason.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, future, io};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::alerts::{self, AlertRow};
use super::deliveries::{self, OutboxRow};
use super::error::StoreError;
use super::open::{Opened, open};
use super::pending::PendingEvents;
use super::{blocks, boots, costs, damaged, devices, events, log_readers, retention};
use crate::model::capacity::{CostRecord, DeviceRecord, NamespaceKey};
use crate::model::event::{Event, Time};
use crate::model::info_block::SavedInfoBlock;
use crate::model::memmap_return::MemmapEvidence;
use crate::model::store::{BootRow, Settings, StoreHealth, UnsavedBlocks};

/// So many damaged files are set aside while the agent runs, and are kept over all its runs: a disk that damages each new one must
/// not be filled.
const MAX_SET_ASIDE: usize = 4;

/// So many commits and events are in SQLite's log before they are moved into the file: about half a MiB. If events never pause,
/// `wal_autocheckpoint` does it (`open.rs`).
const CHECKPOINT_WRITES: usize = 64;

/// After so long without an event, the next one is not expected immediately.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);

/// SQLite's log may have so many bytes at least: four times what it has while nobody keeps it from going into the file.
const MIN_LOG_LIMIT: u64 = 16 << 20;

/// How often old events are looked for. The size of the file is checked more often: that is cheap.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The event store. An error never stops the agent: a method that cannot read or write returns `None`.
#[derive(Debug)]
pub struct EventStore {
    settings: Settings,
    /// Renders the line for people that is stored with each event.
    render: fn(&Event) -> String,
    connection: Option<Connection>,
    /// The device and inode of the open file.
    identity: Option<(u64, u64)>,
    health: StoreHealth,
    /// How many files were set aside.
    set_aside: usize,
    /// The error that was logged last, so that it is logged once.
    logged_error: Option<String>,
    pub(super) pending: PendingEvents,
    /// The last number that an event got.
    last_number: i64,
    /// How many commits and events SQLite's log may have.
    writes_since_checkpoint: usize,
    /// When old events were deleted last.
    last_retention: Option<SystemTime>,
    /// Whether the file lacks the blocks that an earlier file got.
    is_new_file: bool,
    /// How many files have lacked what an earlier one had.
    file_number: u64,
    /// Why the reader group cannot read the file, as it was logged last.
    unshared: Option<String>,
}

impl EventStore {
    /// A store that the configuration has turned off.
    #[must_use]
    pub fn disabled() -> Self {
        Self::open(Settings { file: None, ..Settings::default() }, |_| String::new())
    }

    /// Opens the file, and migrates it if an earlier version wrote it. If that fails, [`Self::health`] has the error.
    #[must_use]
    pub fn open(settings: Settings, render: fn(&Event) -> String) -> Self {
        let health = StoreHealth { file: settings.file.clone(), ..StoreHealth::default() };
        let mut store = Self {
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
            file_number: 0,
            unshared: None,
        };
        store.reopen();
        store
    }

    /// Whether the configuration has turned the store off.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.settings.file.is_none()
    }

    /// It is another one if the file was replaced by one that lacks the rows of the earlier one: who keeps them saves them again.
    #[must_use]
    pub const fn file_number(&self) -> u64 {
        self.file_number
    }

    /// Whether it works, and how large it is.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        let size_bytes = self.health.file.as_deref().map_or(0, size);
        StoreHealth { size_bytes, ..self.health.clone() }
    }

    /// Commits events in their order, in one transaction with the unsaved info blocks: each event then has its number. If that
    /// fails, each event is marked as uncommitted and written later.
    ///
    /// An event may be published only after this.
    pub fn commit(&mut self, events: &mut [Event], blocks: &mut impl UnsavedBlocks) {
        if self.is_off() {
            return;
        }
        // The second attempt is for a damaged file, which the first one has replaced.
        if self.try_commit(events, blocks) || self.try_commit(events, blocks) {
            return;
        }
        for event in events {
            (event.id, event.uncommitted) = (None, true);
            self.health.uncommitted = self.health.uncommitted.saturating_add(1);
            self.health.dropped += u64::from(self.pending.push(event.clone()));
        }
    }

    fn try_commit(&mut self, events: &mut [Event], blocks: &mut impl UnsavedBlocks) -> bool {
        let mut pending = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.is_new_file) {
            blocks.mark_all_dirty();
        }
        let render = self.render;
        let last = self.write(|connection| {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let last = events::insert(&transaction, pending.events.iter_mut().chain(events.iter_mut()), render)?;
            blocks::save(&transaction, blocks.dirty())?;
            transaction.commit()?;
            Ok(last)
        });
        let Some(last) = last else {
            self.pending = pending;
            return false;
        };
        blocks.mark_saved();
        self.last_number = last;
        let written = pending.events.len() + events.len();
        self.health.events = self.health.events.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        self.report_recovery(&pending);
        self.writes_since_checkpoint = self.writes_since_checkpoint.saturating_add(1 + written);
        true
    }

    /// Ends when [`Self::checkpoint`] is due and nothing was committed for a moment; never ends while it is not due.
    pub async fn checkpoint_due(&self) {
        if self.writes_since_checkpoint < CHECKPOINT_WRITES {
            future::pending::<()>().await;
        }
        tokio::time::sleep(CHECKPOINT_DELAY).await;
    }

    /// Moves SQLite's log into the file. That takes longer than a commit, and no event should wait for it.
    pub fn checkpoint(&mut self) {
        self.writes_since_checkpoint = 0;
        self.write(|connection| connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    /// Retries a file that failed, and deletes what is too old or too much. The agent calls this regularly.
    pub fn enforce_retention(&mut self, blocks: &mut impl UnsavedBlocks, now: SystemTime) {
        if self.is_off() {
            return;
        }
        self.reopen_if_needed();
        self.commit(&mut [], blocks);
        let (max_age, max_size) = (self.settings.max_age, self.settings.max_size_bytes);
        // A clock that was set back counts as an hour.
        let is_due = self
            .last_retention
            .is_none_or(|then| now.duration_since(then).map_or(true, |past| past >= RETENTION_INTERVAL));
        if is_due {
            self.last_retention = Some(now);
            self.write(|connection| {
                retention::delete_old(connection, now.checked_sub(max_age))?;
                blocks::delete_surplus(connection)
            });
        }
        let shrunk = self.write(|connection| retention::shrink(connection, max_size));
        if is_due || shrunk == Some(true) {
            self.health.events = self.read(events::count).unwrap_or(self.health.events);
        }
    }

    /// The saved info blocks, the one that was seen last first.
    pub fn blocks(&mut self) -> Option<Vec<SavedInfoBlock>> {
        self.read(blocks::all)
    }

    /// DRAM in bytes that events since then report as not returned, by the evidence.
    pub fn unreturned_memmaps(&mut self, since: SystemTime) -> Option<BTreeMap<MemmapEvidence, u64>> {
        self.read(|connection| events::unreturned_memmaps(connection, since))
    }

    /// Every boot, the oldest first.
    pub fn boots(&mut self) -> Option<Vec<BootRow>> {
        self.read(boots::all)
    }

    /// Saves a boot. It replaces the row of the same boot and libnvdimm, except for `first_seen`.
    pub fn save_boot(&mut self, boot: &BootRow) -> Option<()> {
        self.save_boots(std::slice::from_ref(boot))
    }

    /// Saves several boots, all or none.
    pub fn save_boots(&mut self, boots: &[BootRow]) -> Option<()> {
        self.write_all(boots, boots::save)
    }

    /// Deletes boots, all or none.
    pub fn delete_boots(&mut self, boots: &[BootRow]) -> Option<()> {
        self.write_all(boots, boots::delete)
    }

    /// What each namespace costs. A row that cannot be parsed is left out.
    pub fn costs(&mut self) -> Option<Vec<CostRecord>> {
        self.read(costs::all)
    }

    /// Saves what namespaces cost. Each replaces the row of the same namespace, or of the one that had its place.
    pub fn save_costs(&mut self, records: &[CostRecord]) -> Option<()> {
        self.write_all(records, costs::save)
    }

    /// Deletes what namespaces cost, all or none.
    pub fn delete_costs(&mut self, namespaces: &[NamespaceKey]) -> Option<()> {
        self.write_all(namespaces, costs::delete)
    }

    /// What each device without a namespace serves. A row that cannot be parsed is left out.
    pub fn devices(&mut self) -> Option<Vec<DeviceRecord>> {
        self.read(devices::all)
    }

    /// Saves what devices serve, instead of what was saved of them.
    pub fn replace_devices(&mut self, records: &[DeviceRecord]) -> Option<()> {
        self.write(|connection| {
            let transaction = connection.transaction()?;
            devices::replace(&transaction, records)?;
            transaction.commit()
        })
    }

    /// The alerts that are firing.
    pub fn firing_alerts(&mut self) -> Option<Vec<AlertRow>> {
        self.read(alerts::all)
    }

    /// Saves an alert that is firing.
    pub fn save_alert(&mut self, alert: &AlertRow) -> Option<()> {
        self.write(|connection| alerts::save(connection, alert))
    }

    /// Deletes an alert that has ended.
    pub fn delete_alert(&mut self, fingerprint: &str) -> Option<()> {
        self.write(|connection| alerts::delete(connection, fingerprint))
    }

    /// Puts a message into the outbox, due immediately, and returns its number.
    pub fn put(&mut self, receiver: &str, fingerprint: &str, state: &str, payload: &str) -> Option<i64> {
        self.write(|connection| deliveries::insert(connection, receiver, fingerprint, state, payload))
    }

    /// At most `limit` messages that are due, in the order in which they were put.
    pub fn due(&mut self, now: SystemTime, limit: u32) -> Option<Vec<OutboxRow>> {
        self.read(|connection| deliveries::due(connection, now, limit))
    }

    /// Deletes a message that its receiver has accepted.
    pub fn delivered(&mut self, id: i64) -> Option<()> {
        self.write(|connection| deliveries::delete(connection, id))
    }

    /// Counts a failed attempt, and sets the time of the next one.
    pub fn failed(&mut self, id: i64, next_try: SystemTime, error: &str) -> Option<()> {
        self.write(|connection| deliveries::postpone(connection, id, next_try, error))
    }

    /// All messages that a receiver may still accept, in the order in which they were put.
    pub fn undelivered(&mut self) -> Option<Vec<OutboxRow>> {
        self.read(deliveries::undelivered)
    }

    /// Keeps a message as one that its receiver will never accept; the oldest of too many are deleted.
    pub fn give_up(&mut self, id: i64, error: &str) -> Option<()> {
        self.write(|connection| deliveries::give_up(connection, id, error))
    }

    /// How many messages wait for each receiver that any wait for.
    pub fn pending(&mut self) -> Option<BTreeMap<String, u64>> {
        self.read(deliveries::count_by_receiver)
    }

    /// Reads from the file.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let result = work(self.connection.as_ref()?);
        result.map_err(|error| self.on_error(error.into())).ok()
    }

    /// Writes to the file, unless the last access failed: [`Self::enforce_retention`] retries then.
    fn write<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        if self.health.error.is_some() {
            return None;
        }
        self.bound_log()?;
        let result = work(self.connection.as_mut()?);
        result.map_err(|error| self.on_error(error.into())).ok()
    }

    /// While a process reads an old state of the file, SQLite's log cannot begin again at its start, and each commit makes it longer
    /// (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>). Above the limit nothing is written until the reader
    /// has ended.
    fn bound_log(&mut self) -> Option<()> {
        let file = self.settings.file.clone()?;
        let limit = self.settings.max_size_bytes.max(MIN_LOG_LIMIT);
        if log_size(&file) <= limit {
            return Some(());
        }
        let is_held = self.read(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        })?;
        if is_held {
            let readers = log_readers::log_readers(&file);
            self.report_error(&StoreError::LogHeld { file, limit, readers });
        }
        (!is_held).then_some(())
    }

    /// Writes all rows in one transaction.
    fn write_all<R>(&mut self, rows: &[R], save: fn(&Transaction<'_>, &R) -> rusqlite::Result<()>) -> Option<()> {
        self.write(|connection| {
            let transaction = connection.transaction()?;
            rows.iter().try_for_each(|row| save(&transaction, row))?;
            transaction.commit()
        })
    }

    /// Opens the file again if the last access failed, or if the file was removed or replaced.
    fn reopen_if_needed(&mut self) {
        let Some(file) = &self.settings.file else { return };
        if self.health.error.is_some() || self.identity != identity(file) {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let Some(file) = self.settings.file.clone() else { return };
        // The open file is closed first: it may be the same one.
        self.connection = None;
        let opened =
            open(&file).or_else(|error| if error.is_damage() { self.recreate(&file, &error) } else { Err(error) });
        self.attach(&file, opened);
    }

    /// Continues with the opened file, or reports why there is none.
    fn attach(&mut self, file: &Path, opened: Result<Opened, StoreError>) {
        // A file that has replaced ours must not give a number to a second event.
        let begin = |opened: Opened| Ok((events::set_first_number(&opened.connection, self.last_number)?, opened));
        match opened.and_then(begin) {
            Ok((is_another, Opened { connection, unshared })) => {
                if is_another {
                    self.on_new_file();
                }
                if let Some(reason) = self.unshared_warning(unshared) {
                    tracing::warn!("{reason}");
                }
                self.identity = identity(file);
                self.connection = Some(connection);
                self.health.error = None;
            }
            Err(error) => self.report_error(&error.in_file(file)),
        }
    }

    fn on_new_file(&mut self) {
        self.is_new_file = true;
        self.file_number += 1;
    }

    /// Why the reader group cannot read the file, if that is news: the file is opened again and again while there is trouble.
    pub(super) fn unshared_warning(&mut self, unshared: Option<String>) -> Option<String> {
        let is_news = unshared != self.unshared;
        self.unshared = unshared;
        self.unshared.clone().filter(|_| is_news)
    }

    /// An access failed. A damaged file is replaced; after any other error the agent continues without the store.
    fn on_error(&mut self, error: StoreError) {
        let Some(file) = self.settings.file.clone() else { return };
        let error = error.in_file(&file);
        if !error.is_damage() {
            return self.report_error(&error);
        }
        self.connection = None;
        let recreated = self.recreate(&file, &error);
        self.attach(&file, recreated);
    }

    /// Logs the same error once.
    fn report_error(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.logged_error.as_deref() != Some(&text) {
            tracing::error!("the event store failed, events are reported uncommitted: {text}");
            self.logged_error = Some(text.clone());
        }
        self.health.error = Some(text);
    }

    /// The file has accepted a commit, together with the events that were pending.
    fn report_recovery(&mut self, pending: &PendingEvents) {
        if self.logged_error.take().is_some() {
            tracing::info!(
                "the event store works again: it has {} events that were reported uncommitted",
                pending.events.len()
            );
        }
        if pending.dropped > 0 {
            tracing::error!(
                "the event store lacks {} events that were reported uncommitted: there were too many",
                pending.dropped
            );
        }
    }

    /// Renames a damaged file with the files that SQLite has beside it, and creates a new one.
    fn recreate(&mut self, file: &Path, reason: &StoreError) -> Result<Opened, StoreError> {
        if self.set_aside == MAX_SET_ASIDE {
            return Err(StoreError::DamagedAgain { file: file.to_owned() });
        }
        self.set_aside += 1;
        let now = SystemTime::now();
        let aside = sibling(file, &format!("{}{}", damaged::SUFFIX, Time(now)));
        for suffix in ["-wal", "-shm", ""] {
            match fs::rename(sibling(file, suffix), sibling(&aside, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::File { file: file.to_owned(), error });
                }
                _ => {}
            }
        }
        tracing::error!(
            "the event store {} is damaged ({reason}): it was renamed to {}, and a new one was created",
            file.display(),
            aside.display()
        );
        self.health.set_aside = Some(aside);
        self.health.deleted_damaged += damaged::delete_surplus(file, MAX_SET_ASIDE);
        self.health.events = 0;
        self.on_new_file();
        let opened = open(file)?;
        // An agent that has just started does not know which numbers were given. The milliseconds are higher than all of them.
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if self.last_number == 0 {
            self.last_number = i64::try_from(millis).unwrap_or(0);
        }
        Ok(opened)
    }
}

/// The file with a suffix to its name.
pub(super) fn sibling(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|it| (it.dev(), it.ino()))
}

/// The size of the file and its log.
fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |it| it.len()).saturating_add(log_size(file))
}

fn log_size(file: &Path) -> u64 {
    fs::metadata(sibling(file, "-wal")).map_or(0, |it| it.len())
}
