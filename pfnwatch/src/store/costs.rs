//! What each namespace costs, and the least it was seen to cost: the ledger of `baseline`, written down.

use rusqlite::{Connection, Transaction, params};

use super::EventStore;
use crate::model::capacity::CostRecord;

impl EventStore {
    /// All of it; none where the journal cannot be read. A row that makes no sense is left out.
    pub fn costs(&mut self) -> Option<Vec<CostRecord>> {
        self.read(all)
    }

    /// Remembers what namespaces cost, each in place of what the same one did, or the one that lay in the same room.
    pub fn save_costs(&mut self, records: &[CostRecord]) -> Option<()> {
        self.write(|connection| {
            let transaction = connection.transaction()?;
            for record in records {
                save(&transaction, record)?;
            }
            transaction.commit()
        })
    }
}

/// All of it, by address and size.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<CostRecord>> {
    let mut query = connection.prepare("SELECT json FROM costs ORDER BY start_address, size_bytes")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    let records = rows.map(|json| Ok(serde_json::from_str(&json?).ok()));
    records.filter_map(Result::transpose).collect()
}

fn save(transaction: &Transaction<'_>, record: &CostRecord) -> rusqlite::Result<()> {
    let json = serde_json::to_string(record).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let namespace = &record.namespace;
    let uuid = namespace.namespace_uuid.map(|uuid| uuid.to_string());
    let (start, size) = (namespace.start_address.cast_signed(), namespace.size_bytes.cast_signed());
    transaction.execute("DELETE FROM costs WHERE namespace_uuid = ?1 AND size_bytes = ?2", params![uuid, size])?;
    transaction.execute("INSERT OR REPLACE INTO costs VALUES (?1, ?2, ?3, ?4)", params![start, size, uuid, json])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{
        capacity::{Cost, NamespaceKey},
        store::Settings,
    };

    fn record(uuid: u128, start: u64, reservation: u64) -> CostRecord {
        let cost = Cost {
            kernel: "6.1".into(),
            seen: "2026-01-01T00:00:00Z".into(),
            reservation_bytes: reservation,
            excess_bytes: 0,
            max_struct_page_size_bytes: Some(64),
        };
        let namespace_uuid = (uuid != 0).then(|| Uuid::from_u128(uuid));
        let namespace = NamespaceKey {
            namespace: "namespace0.0".into(),
            namespace_uuid,
            start_address: start,
            size_bytes: 1 << 34,
        };
        CostRecord { namespace, last: Some(cost.clone()), least: cost, accepted: None }
    }

    #[test]
    fn the_same_namespace_has_one_row_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { file: Some(folder.path().join("journal.db")), ..Settings::default() };
        let mut journal = EventStore::open(settings.clone(), |_| String::new());
        // The highest address that there is, and one that has no uuid.
        let (first, nameless) = (record(1, u64::MAX - 5, 1), record(0, 9 << 30, 3));
        journal.save_costs(&[first, nameless.clone()]).unwrap();
        assert_eq!(journal.costs().unwrap().len(), 2);
        let moved = record(1, 4 << 30, 2);
        journal.save_costs(std::slice::from_ref(&moved)).unwrap();
        assert_eq!(journal.costs().unwrap(), [moved.clone(), nameless.clone()]);
        let renamed = record(2, 4 << 30, 2);
        journal.save_costs(std::slice::from_ref(&renamed)).unwrap();
        drop(journal);
        assert_eq!(EventStore::open(settings, |_| String::new()).costs().unwrap(), [renamed, nameless]);
        assert_eq!(EventStore::disabled().costs(), None);
    }
}
