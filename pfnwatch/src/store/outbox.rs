//! Alerts: those that stand, and what their receivers have not taken yet.

use std::{collections::BTreeMap, time::SystemTime};

use rusqlite::{Row, params};

use super::{EventStore, convert};

/// An alert that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// What it is known by.
    pub fingerprint: String,
    /// All of it, as JSON.
    pub json: String,
    /// Since when it stands.
    pub since: SystemTime,
}

/// A message that a receiver has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number, in the order in which messages were put.
    pub id: i64,
    /// Whom it is for, by the name in the configuration.
    pub receiver: String,
    /// Which alert it is about.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// The message, as JSON.
    pub payload: String,
    /// When it was put.
    pub created: SystemTime,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is to be tried.
    pub next_try: SystemTime,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

impl EventStore {
    /// The alerts that stand; none where the journal cannot be read.
    pub fn firing_alerts(&mut self) -> Option<Vec<AlertRow>> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT * FROM alerts ORDER BY since_us, fingerprint")?;
            let rows = query.query_map([], |row| {
                Ok(AlertRow {
                    fingerprint: row.get("fingerprint")?,
                    json: row.get("json")?,
                    since: convert::time(row.get("since_us")?),
                })
            })?;
            rows.collect()
        })
    }

    /// Remembers that an alert stands.
    pub fn save_alert(&mut self, alert: &AlertRow) -> Option<()> {
        self.write(|connection| {
            connection.execute(
                "INSERT OR REPLACE INTO alerts VALUES (?1, ?2, ?3)",
                params![alert.fingerprint, alert.json, convert::micros(alert.since)],
            )
        })
        .map(drop)
    }

    /// Forgets an alert that has ended.
    pub fn delete_alert(&mut self, fingerprint: &str) -> Option<()> {
        self.write(|connection| connection.execute("DELETE FROM alerts WHERE fingerprint = ?1", [fingerprint]))
            .map(drop)
    }

    /// Puts a message into the outbox, to be tried at once. Gives its number.
    pub fn put(&mut self, receiver: &str, fingerprint: &str, state: &str, payload: &str) -> Option<i64> {
        let now = convert::micros(SystemTime::now());
        self.write(|connection| {
            connection.execute(
                "INSERT INTO deliveries (receiver, fingerprint, state, payload, created_us, next_try_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                params![receiver, fingerprint, state, payload, now],
            )?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// The messages whose time has come, up to so many, in the order in which they were put.
    pub fn due(&mut self, now: SystemTime, most: u32) -> Option<Vec<OutboxRow>> {
        self.read(|connection| {
            let mut query =
                connection.prepare("SELECT * FROM deliveries WHERE next_try_us <= ?1 ORDER BY id LIMIT ?2")?;
            let rows = query.query_map(params![convert::micros(now), most], delivery)?;
            rows.collect()
        })
    }

    /// Takes a message out of the outbox: its receiver has it.
    pub fn delivered(&mut self, id: i64) -> Option<()> {
        self.write(|connection| connection.execute("DELETE FROM deliveries WHERE id = ?1", [id])).map(drop)
    }

    /// Counts a try that failed, and says when the next one is due.
    pub fn failed(&mut self, id: i64, next_try: SystemTime, error: &str) -> Option<()> {
        self.write(|connection| {
            connection.execute(
                "UPDATE deliveries SET attempts = attempts + 1, next_try_us = ?2, last_error = ?3 WHERE id = ?1",
                params![id, convert::micros(next_try), error],
            )
        })
        .map(drop)
    }

    /// How many messages wait for each receiver that any wait for.
    pub fn pending(&mut self) -> Option<BTreeMap<String, u64>> {
        self.read(|connection| {
            let mut query = connection.prepare("SELECT receiver, count(*) FROM deliveries GROUP BY receiver")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, convert::count(row.get(1)?))))?;
            rows.collect()
        })
    }
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
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
