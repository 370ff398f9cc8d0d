//! The table of costs: what each namespace costs, and its baseline.

use rusqlite::{Connection, Transaction, params};

use super::convert;
use crate::model::capacity::{CostRecord, NamespaceKey};

/// All records by address and size. A row that cannot be parsed is left out.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<CostRecord>> {
    let mut query = connection.prepare("SELECT json FROM costs ORDER BY start_address, size_bytes")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    let records = rows.map(|json| Ok(serde_json::from_str(&json?).ok()));
    records.filter_map(Result::transpose).collect()
}

/// Replaces the row of the same namespace, or of the one that had its place.
pub(super) fn save(transaction: &Transaction<'_>, record: &CostRecord) -> rusqlite::Result<()> {
    let json = convert::json(record)?;
    let namespace = &record.namespace;
    let uuid = namespace.namespace_uuid.map(|uuid| uuid.to_string());
    let (start, size) = (namespace.start_address.cast_signed(), namespace.size_bytes.cast_signed());
    transaction.execute("DELETE FROM costs WHERE namespace_uuid = ?1 AND size_bytes = ?2", params![uuid, size])?;
    transaction.execute("INSERT OR REPLACE INTO costs VALUES (?1, ?2, ?3, ?4)", params![start, size, uuid, json])?;
    Ok(())
}

pub(super) fn delete(transaction: &Transaction<'_>, namespace: &NamespaceKey) -> rusqlite::Result<()> {
    let uuid = namespace.namespace_uuid.map(|uuid| uuid.to_string());
    let (start, size) = (namespace.start_address.cast_signed(), namespace.size_bytes.cast_signed());
    let delete = "DELETE FROM costs WHERE start_address = ?1 AND size_bytes = ?2 AND namespace_uuid IS ?3";
    transaction.execute(delete, params![start, size, uuid]).map(drop)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::capacity::Cost;
    use crate::model::store::Settings;
    use crate::store::EventStore;

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
        CostRecord { namespace, last: Some(cost.clone()), baseline: cost, accepted: None }
    }

    #[test]
    fn the_same_namespace_has_one_row_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { file: Some(folder.path().join("pfnwatch.db")), ..Settings::default() };
        let mut store = EventStore::open(settings.clone(), |_| String::new());
        // The highest address that there is, and one that has no uuid.
        let (first, nameless) = (record(1, u64::MAX - 5, 1), record(0, 9 << 30, 3));
        store.save_costs(&[first, nameless.clone()]).unwrap();
        assert_eq!(store.costs().unwrap().len(), 2);
        let moved = record(1, 4 << 30, 2);
        store.save_costs(std::slice::from_ref(&moved)).unwrap();
        assert_eq!(store.costs().unwrap(), [moved.clone(), nameless.clone()]);
        let other = record(2, 4 << 30, 2);
        store.save_costs(std::slice::from_ref(&other)).unwrap();
        drop(store);
        assert_eq!(EventStore::open(settings, |_| String::new()).costs().unwrap(), [other, nameless]);
        assert_eq!(EventStore::disabled().costs(), None);
    }
}
