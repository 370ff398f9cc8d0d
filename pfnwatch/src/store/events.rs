//! Events go into the journal before anybody is told of them.

use std::{collections::VecDeque, future, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, Statement, Transaction, TransactionBehavior, params};
use serde::Deserialize;

use super::{EventStore, blocks, convert};
use crate::model::{event::Event, store::UnsavedBlocks};

/// So many events that could not be written are held, to be written later.
const MAX_PENDING: usize = 1000;

/// So many commits and events are in SQLite's log before they go into the file: half a MiB or so. Where the journal is not at
/// rest for long, `wal_autocheckpoint` does it (`open.rs`).
const CHECKPOINT_WRITES: usize = 64;

/// After so long without an event the next one is not expected at once.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);

/// Events that could not be written yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    pub(super) events: VecDeque<Event>,
    /// How many more there were.
    pub(super) dropped: u64,
}

impl PendingEvents {
    fn push(&mut self, event: Event) {
        if self.events.len() == MAX_PENDING {
            self.events.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.events.push_back(event);
    }
}

/// What is looked for in events, out of an event's own JSON.
#[derive(Deserialize)]
struct Columns {
    event: String,
    device: Option<String>,
    namespace: Option<String>,
    namespace_uuid: Option<String>,
}

impl EventStore {
    /// Commits events in their order, in one transaction with the info blocks that are news: each event then has its number.
    /// Where that fails each is marked as uncommitted, and is held for later.
    ///
    /// Only what was passed to this may be told to anybody.
    pub fn commit(&mut self, events: &mut [Event], kept: &mut impl UnsavedBlocks) {
        if self.is_off() {
            return;
        }
        // A damaged file is replaced by a new one, which takes what the old one could not.
        if self.try_commit(events, kept) || self.try_commit(events, kept) {
            return;
        }
        for event in events {
            (event.id, event.uncommitted) = (None, true);
            self.health.uncommitted = self.health.uncommitted.saturating_add(1);
            self.pending.push(event.clone());
        }
    }

    fn try_commit(&mut self, events: &mut [Event], kept: &mut impl UnsavedBlocks) -> bool {
        let mut held = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.is_new_file) {
            kept.mark_all_dirty();
        }
        let render = self.render;
        let last = self.write(|connection| {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let mut number = last_number(&transaction)?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (id, time_us, kind, namespace, namespace_uuid, denied, json, line)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for event in held.events.iter_mut().chain(events.iter_mut()) {
                number += 1;
                (event.id, event.uncommitted) = (Some(convert::count(number)), false);
                insert_event(&mut insert, number, event, render(event))?;
            }
            drop(insert);
            blocks::put(&transaction, kept.dirty())?;
            transaction.commit()?;
            Ok(number)
        });
        let Some(last) = last else {
            self.pending = held;
            return false;
        };
        kept.mark_saved();
        self.last_number = last;
        let written = held.events.len() + events.len();
        self.health.events = self.health.events.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        self.report_recovery(&held);
        self.writes_since_checkpoint = self.writes_since_checkpoint.saturating_add(1 + written);
        true
    }

    /// Ends when [`Self::settle`] is due and nothing was committed for a moment; never while it is not.
    pub async fn checkpoint_due(&self) {
        if self.writes_since_checkpoint < CHECKPOINT_WRITES {
            future::pending::<()>().await;
        }
        tokio::time::sleep(CHECKPOINT_DELAY).await;
    }

    /// Moves what is in SQLite's log into the file itself, which takes longer than a commit: no event should have to wait for
    /// it.
    pub fn checkpoint(&mut self) {
        self.writes_since_checkpoint = 0;
        self.write(|connection| connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }
}

/// The highest number that was ever given to an event.
pub(super) fn last_number(connection: &Connection) -> rusqlite::Result<i64> {
    let number = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(connection.prepare_cached(number)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Sees to it that the next number is higher than this one. True where the file did not know of it: it is not the file
/// that it was.
pub(super) fn set_first_number(connection: &Connection, number: i64) -> rusqlite::Result<bool> {
    if last_number(connection)? >= number {
        return Ok(false);
    }
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'events'", [])?;
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", [number])?;
    Ok(true)
}

fn insert_event(insert: &mut Statement<'_>, number: i64, event: &Event, line: String) -> rusqlite::Result<()> {
    let unwritable = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let json = serde_json::to_string(event).map_err(unwritable)?;
    let Columns { event: kind, device, namespace, namespace_uuid } = serde_json::from_str(&json).map_err(unwritable)?;
    // A label is a namespace's own.
    let namespace = namespace.or(device.filter(|device| device.starts_with("namespace")));
    let denied = matches!(kind.as_str(), "denied" | "would_deny");
    let time = convert::micros(event.time.0);
    insert.execute(params![number, time, kind, namespace, namespace_uuid, denied, json, line]).map(drop)
}
