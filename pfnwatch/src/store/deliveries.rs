//! The table of messages that a receiver has not accepted yet.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use super::convert;

/// When a message is retried that its receiver will never accept: in the year 9999, in microseconds since 1970.
const NEVER_US: i64 = 253_370_764_800_000_000;

/// So many of those messages are kept, the newest.
const MAX_GIVEN_UP: u32 = 256;

/// A message that a receiver has not accepted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number, in the order in which messages were put.
    pub id: i64,
    /// The name of the receiver in the configuration.
    pub receiver: String,
    /// The alert.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// The message, as JSON.
    pub payload: String,
    /// When it was put.
    pub created: SystemTime,
    /// How many attempts failed.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_try: SystemTime,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Inserts a message that is due immediately, and returns its number.
pub(super) fn insert(
    connection: &Connection,
    receiver: &str,
    fingerprint: &str,
    state: &str,
    payload: &str,
) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO deliveries (receiver, fingerprint, state, payload, created_us, next_try_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        params![receiver, fingerprint, state, payload, convert::micros(SystemTime::now())],
    )?;
    Ok(connection.last_insert_rowid())
}

/// At most `limit` messages that are due, in the order of their numbers.
pub(super) fn due(connection: &Connection, now: SystemTime, limit: u32) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut query = connection.prepare("SELECT * FROM deliveries WHERE next_try_us <= ?1 ORDER BY id LIMIT ?2")?;
    let rows = query.query_map(params![convert::micros(now), limit], row)?;
    rows.collect()
}

pub(super) fn delete(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM deliveries WHERE id = ?1", [id]).map(drop)
}

/// Counts a failed attempt, and sets the time of the next one.
pub(super) fn postpone(connection: &Connection, id: i64, next_try: SystemTime, error: &str) -> rusqlite::Result<()> {
    connection
        .execute(
            "UPDATE deliveries SET attempts = attempts + 1, next_try_us = ?2, last_error = ?3 WHERE id = ?1",
            params![id, convert::micros(next_try), error],
        )
        .map(drop)
}

/// All messages that are not given up, in the order of their numbers.
pub(super) fn undelivered(connection: &Connection) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut query = connection.prepare("SELECT * FROM deliveries WHERE next_try_us < ?1 ORDER BY id")?;
    let rows = query.query_map([NEVER_US], row)?;
    rows.collect()
}

/// Keeps a message that its receiver will never accept, for people to read, and deletes the oldest of too many.
pub(super) fn give_up(connection: &Connection, id: i64, error: &str) -> rusqlite::Result<()> {
    postpone(connection, id, convert::time(NEVER_US), error)?;
    connection
        .execute(
            "DELETE FROM deliveries WHERE id IN
             (SELECT id FROM deliveries WHERE next_try_us >= ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
            params![NEVER_US, MAX_GIVEN_UP],
        )
        .map(drop)
}

pub(super) fn count_by_receiver(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut query = connection.prepare("SELECT receiver, count(*) FROM deliveries GROUP BY receiver")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, convert::count(row.get(1)?))))?;
    rows.collect()
}

fn row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get("id")?,
        receiver: row.get("receiver")?,
        fingerprint: row.get("fingerprint")?,
        state: row.get("state")?,
        payload: row.get("payload")?,
        created: convert::time(row.get("created_us")?),
        attempts: row.get("attempts")?,
        next_try: convert::time(row.get("next_try_us")?),
        last_error: row.get("last_error")?,
    })
}
