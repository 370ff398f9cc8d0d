//! The table of boots: the kernels that ran on this host.

use rusqlite::{Connection, Row, Transaction, params};

use super::convert;
use crate::model::store::BootRow;

/// Replaces the row of the same boot and libnvdimm, except for `first_seen`.
pub(super) fn save(transaction: &Transaction<'_>, boot: &BootRow) -> rusqlite::Result<()> {
    let accepted = boot.accepted.as_ref().map(convert::json).transpose()?;
    transaction.execute(
        "INSERT INTO boots VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO UPDATE SET
         release = excluded.release, struct_page_size = excluded.struct_page_size,
         max_struct_page_size = excluded.max_struct_page_size, evidence = excluded.evidence,
         last_seen_us = excluded.last_seen_us, superseded = excluded.superseded, accepted = excluded.accepted,
         memmap_returned = excluded.memmap_returned",
        params![
            boot.boot_id,
            boot.module_build_id.as_deref().unwrap_or_default(),
            boot.release,
            boot.struct_page_size.map(u64::cast_signed),
            boot.max_struct_page_size.map(u64::cast_signed),
            serde_json::Value::from(boot.evidence.as_slice()).to_string(),
            convert::micros(boot.first_seen),
            convert::micros(boot.last_seen),
            boot.superseded,
            accepted,
            boot.memmap_returned,
        ],
    )?;
    Ok(())
}

pub(super) fn delete(transaction: &Transaction<'_>, boot: &BootRow) -> rusqlite::Result<()> {
    let id = (&boot.boot_id, boot.module_build_id.as_deref().unwrap_or_default());
    transaction.execute("DELETE FROM boots WHERE boot_id = ?1 AND module_build_id = ?2", id).map(drop)
}

/// All boots, the oldest first.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<BootRow>> {
    let mut query = connection.prepare("SELECT * FROM boots ORDER BY first_seen_us, last_seen_us")?;
    let rows = query.query_map([], row)?;
    rows.collect()
}

fn row(row: &Row<'_>) -> rusqlite::Result<BootRow> {
    let bytes = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned));
    let evidence: String = row.get("evidence")?;
    let accepted: Option<String> = row.get("accepted")?;
    Ok(BootRow {
        boot_id: row.get("boot_id")?,
        module_build_id: Some(row.get::<_, String>("module_build_id")?).filter(|id| !id.is_empty()),
        release: row.get("release")?,
        struct_page_size: bytes("struct_page_size")?,
        max_struct_page_size: bytes("max_struct_page_size")?,
        evidence: serde_json::from_str(&evidence).unwrap_or_default(),
        first_seen: convert::time(row.get("first_seen_us")?),
        last_seen: convert::time(row.get("last_seen_us")?),
        superseded: row.get("superseded")?,
        memmap_returned: row.get("memmap_returned")?,
        accepted: accepted.and_then(|json| serde_json::from_str(&json).ok()),
    })
}
