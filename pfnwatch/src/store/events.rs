//! The table of events.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Statement, Transaction, params};
use serde::Deserialize;

use super::convert;
use crate::model::event::Event;
use crate::model::memmap_return::MemmapEvidence;

/// What events are searched by, out of an event's own JSON.
#[derive(Deserialize)]
struct Columns {
    event: String,
    device: Option<String>,
    namespace: Option<String>,
    namespace_uuid: Option<String>,
}

/// Gives each event its number and inserts it. Returns the last number.
pub(super) fn insert<'a>(
    transaction: &Transaction<'_>,
    events: impl Iterator<Item = &'a mut Event>,
    render: fn(&Event) -> String,
) -> rusqlite::Result<i64> {
    let mut number = last_number(transaction)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO events (id, time_us, kind, namespace, namespace_uuid, denied, json, line)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for event in events {
        number += 1;
        (event.id, event.uncommitted) = (Some(convert::count(number)), false);
        insert_event(&mut insert, number, event, render(event))?;
    }
    Ok(number)
}

fn insert_event(insert: &mut Statement<'_>, number: i64, event: &Event, line: String) -> rusqlite::Result<()> {
    let json = convert::json(event)?;
    let columns = serde_json::from_str(&json).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()));
    let Columns { event: kind, device, namespace, namespace_uuid } = columns?;
    // The device of an event about a label is the namespace itself.
    let namespace = namespace.or(device.filter(|device| device.starts_with("namespace")));
    let denied = matches!(kind.as_str(), "denied" | "would_deny");
    let time = convert::micros(event.time.0);
    insert.execute(params![number, time, kind, namespace, namespace_uuid, denied, json, line]).map(drop)
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM events", [], |row| Ok(convert::count(row.get(0)?)))
}

/// DRAM in bytes that events since then report as not returned, by the evidence.
pub(super) fn unreturned_memmaps(
    connection: &Connection,
    since: SystemTime,
) -> rusqlite::Result<BTreeMap<MemmapEvidence, u64>> {
    let mut sums = connection.prepare(
        "SELECT json_extract(json, '$.evidence'), sum(json_extract(json, '$.lost_bytes')) FROM events
         WHERE denied = 0 AND time_us >= ?1 AND kind = 'memmap_not_returned' GROUP BY 1",
    )?;
    let rows = sums.query_map([convert::micros(since)], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let known = |row: rusqlite::Result<(String, i64)>| {
        row.map(|(evidence, bytes)| Some((evidence.parse().ok()?, convert::count(bytes)))).transpose()
    };
    rows.filter_map(known).collect()
}

/// The highest number that was ever given to an event.
fn last_number(connection: &Connection) -> rusqlite::Result<i64> {
    let number = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(connection.prepare_cached(number)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Makes the next number higher than this one. Returns whether the file had a lower one: then it is another file.
pub(super) fn set_first_number(connection: &Connection, number: i64) -> rusqlite::Result<bool> {
    if last_number(connection)? >= number {
        return Ok(false);
    }
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'events'", [])?;
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", [number])?;
    Ok(true)
}
