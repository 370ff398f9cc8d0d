//! The table of devices: what each device without a namespace serves, and its baseline.

use rusqlite::{Connection, Transaction, params};

use super::convert;
use crate::model::capacity::DeviceRecord;

/// All records in the order in which they were saved. A row that cannot be parsed is left out.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<DeviceRecord>> {
    let mut query = connection.prepare("SELECT json FROM devices ORDER BY rowid")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    let records = rows.map(|json| Ok(serde_json::from_str(&json?).ok()));
    records.filter_map(Result::transpose).collect()
}

/// Replaces all rows: a host has few devices, and they seldom change.
pub(super) fn replace(transaction: &Transaction<'_>, records: &[DeviceRecord]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM devices", [])?;
    let mut insert = transaction.prepare("INSERT INTO devices VALUES (?1)")?;
    records.iter().try_for_each(|record| insert.execute(params![convert::json(record)?]).map(drop))
}
