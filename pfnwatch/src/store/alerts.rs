//! The table of firing alerts.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::convert;

/// An alert that is firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Its identity.
    pub fingerprint: String,
    /// All of it, as JSON.
    pub json: String,
    /// When it began.
    pub since: SystemTime,
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<AlertRow>> {
    let mut query = connection.prepare("SELECT * FROM alerts ORDER BY since_us, fingerprint")?;
    let rows = query.query_map([], |row| {
        Ok(AlertRow {
            fingerprint: row.get("fingerprint")?,
            json: row.get("json")?,
            since: convert::time(row.get("since_us")?),
        })
    })?;
    rows.collect()
}

pub(super) fn save(connection: &Connection, alert: &AlertRow) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT OR REPLACE INTO alerts VALUES (?1, ?2, ?3)",
            params![alert.fingerprint, alert.json, convert::micros(alert.since)],
        )
        .map(drop)
}

pub(super) fn delete(connection: &Connection, fingerprint: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM alerts WHERE fingerprint = ?1", [fingerprint]).map(drop)
}
