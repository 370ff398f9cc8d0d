//! Deletes events that are too old or too many. Denials stay while there is room, and info blocks are never deleted for room.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::convert;

/// So many events are deleted by one statement, so that none takes long.
const DELETE_BATCH: i64 = 500;

/// So many of the last events stay at any age: a clock that jumps must not empty the store.
const MIN_KEPT_EVENTS: i64 = 1000;

/// Deletes events from before this time.
pub(super) fn delete_old(connection: &Connection, before: Option<SystemTime>) -> rusqlite::Result<()> {
    let Some(before) = before else { return Ok(()) };
    let mut delete = connection.prepare(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE denied = 0 AND time_us < ?1
         AND id <= (SELECT max(id) FROM events) - ?2 LIMIT ?3)",
    )?;
    while delete.execute(params![convert::micros(before), MIN_KEPT_EVENTS, DELETE_BATCH])? > 0 {}
    Ok(())
}

/// Deletes the oldest events until the file has its size. Returns whether it had to.
pub(super) fn shrink(connection: &Connection, max_bytes: u64) -> rusqlite::Result<bool> {
    if used_bytes(connection)? <= max_bytes {
        return release_pages(connection).map(|()| false);
    }
    // A tenth more, so that the next event does not start it again.
    let enough = max_bytes - max_bytes / 10;
    let mut delete = connection
        .prepare("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE denied = ?1 ORDER BY id LIMIT ?2)")?;
    for denied in [0, 1] {
        while used_bytes(connection)? > enough && delete.execute([denied, DELETE_BATCH])? > 0 {}
    }
    release_pages(connection)?;
    Ok(true)
}

/// The size of the pages in use, in bytes.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0).map(convert::count));
    Ok((number("page_count")?.saturating_sub(number("freelist_count")?)).saturating_mul(number("page_size")?))
}

/// Returns free pages to the file system, and those of the log with them.
fn release_pages(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free < DELETE_BATCH {
        return Ok(());
    }
    // It returns a row for each page.
    connection.pragma_query(None, "incremental_vacuum", |_| Ok(()))?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
