//! What is too old, or too much, goes. Denials stay for as long as there is room, and info blocks for good.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use super::{EventStore, blocks, convert};
use crate::model::store::UnsavedBlocks;

/// How often what is too old is looked for. Whether the file is too large is looked at more often: it is cheap.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// So many events are deleted in one go, so that no go takes long.
const DELETE_BATCH: i64 = 500;

/// So many of the last events stay whatever their age: a clock that jumps must not empty the journal.
const MIN_KEPT_EVENTS: i64 = 1000;

impl EventStore {
    /// To be called now and then: tries again where the journal takes nothing, and deletes what is too old or too much.
    pub fn enforce_retention(&mut self, kept: &mut impl UnsavedBlocks, now: SystemTime) {
        if self.is_off() {
            return;
        }
        self.reopen_if_needed();
        self.commit(&mut [], kept);
        let (max_age, max_size) = (self.settings.max_age, self.settings.max_size_bytes);
        // A clock that was set back counts as an hour.
        let is_due = self
            .last_retention
            .is_none_or(|then| now.duration_since(then).map_or(true, |past| past >= RETENTION_INTERVAL));
        if is_due {
            self.last_retention = Some(now);
            self.write(|connection| {
                delete_old(connection, now.checked_sub(max_age))?;
                blocks::shrink(connection)
            });
        }
        let shrunk = self.write(|connection| shrink(connection, max_size));
        if is_due || shrunk == Some(true) {
            self.health.events = self.read(count).unwrap_or(self.health.events);
        }
    }
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM events", [], |row| Ok(convert::count(row.get(0)?)))
}

fn delete_old(connection: &Connection, before: Option<SystemTime>) -> rusqlite::Result<()> {
    let Some(before) = before else { return Ok(()) };
    let mut delete = connection.prepare(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE denied = 0 AND time_us < ?1
         AND id <= (SELECT max(id) FROM events) - ?2 LIMIT ?3)",
    )?;
    while delete.execute(params![convert::micros(before), MIN_KEPT_EVENTS, DELETE_BATCH])? > 0 {}
    Ok(())
}

/// Deletes the oldest events until the file has its size. True where it had to.
fn shrink(connection: &Connection, max_bytes: u64) -> rusqlite::Result<bool> {
    if used_bytes(connection)? <= max_bytes {
        return release_pages(connection).map(|()| false);
    }
    // A tenth more, so that this is not to be done again at once.
    let enough = max_bytes - max_bytes / 10;
    let mut delete = connection
        .prepare("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE denied = ?1 ORDER BY id LIMIT ?2)")?;
    for denied in [0, 1] {
        while used_bytes(connection)? > enough && delete.execute([denied, DELETE_BATCH])? > 0 {}
    }
    release_pages(connection)?;
    Ok(true)
}

/// What is in use, in bytes.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0).map(convert::count));
    Ok((number("page_count")?.saturating_sub(number("freelist_count")?)).saturating_mul(number("page_size")?))
}

/// Gives free pages back to the file system, and the log's with them.
fn release_pages(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free < DELETE_BATCH {
        return Ok(());
    }
    // It answers for each page.
    connection.pragma_query(None, "incremental_vacuum", |_| Ok(()))?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
