//! The table of info blocks: what the agent has in memory outlives the agent and the boot here.

use pfnwatch_common::superblock;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::convert;
use crate::model::event::{BlockOrigin, NamespaceId, Time};
use crate::model::info_block::SavedInfoBlock;

/// At most so many namespaces have a row: those that were seen last.
const MAX_BLOCKS: u32 = 4096;

/// All blocks, the one that was seen last first. A row whose bytes are no info block is left out: another program may have
/// written to the file.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<SavedInfoBlock>> {
    let mut query = connection.prepare("SELECT * FROM blocks ORDER BY seen_us DESC")?;
    let rows = query.query_map([], row)?;
    rows.filter_map(Result::transpose).collect()
}

pub(super) fn save<'a>(
    connection: &Connection,
    blocks: impl Iterator<Item = &'a SavedInfoBlock>,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO blocks (key, namespace, namespace_uuid, start_address, size_bytes, seen_us, block, origin,
                                        raw_since, destroyed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for saved in blocks {
        let NamespaceId { namespace, namespace_uuid, start_address, size_bytes } = &saved.namespace;
        insert.execute(params![
            key(*namespace_uuid, *start_address),
            namespace,
            namespace_uuid.map(|uuid| uuid.to_string()),
            start_address.cast_signed(),
            size_bytes.cast_signed(),
            convert::micros(saved.last_seen.0),
            saved.bytes().as_slice(),
            origin_name(saved.origin),
            saved.raw_since,
            saved.destroyed,
        ])?;
    }
    Ok(())
}

/// Deletes the rows above the limit: destroyed namespaces first, then those not seen for the longest time.
pub(super) fn delete_surplus(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM blocks WHERE key IN (SELECT key FROM blocks ORDER BY destroyed, seen_us DESC LIMIT -1 OFFSET ?1)",
            [MAX_BLOCKS],
        )
        .map(drop)
}

fn row(row: &Row<'_>) -> rusqlite::Result<Option<SavedInfoBlock>> {
    let namespace = NamespaceId {
        namespace: row.get("namespace")?,
        namespace_uuid: convert::uuid(row.get("namespace_uuid")?),
        start_address: row.get::<_, i64>("start_address")?.cast_unsigned(),
        size_bytes: row.get::<_, i64>("size_bytes")?.cast_unsigned(),
    };
    let bytes: Vec<u8> = row.get("block")?;
    let Ok(bytes) = <Box<[u8; superblock::SIZE]>>::try_from(bytes) else { return Ok(None) };
    let origin = origin(&row.get::<_, String>("origin")?);
    let seen = Time(convert::time(row.get("seen_us")?));
    let mut block = SavedInfoBlock::new(namespace, bytes, origin, seen);
    if let Some(block) = &mut block {
        (block.raw_since, block.destroyed) = (row.get("raw_since")?, row.get("destroyed")?);
    }
    Ok(block)
}

/// The primary key of a namespace.
fn key(uuid: Option<Uuid>, start_address: u64) -> String {
    uuid.map_or_else(|| format!("{start_address:#x}"), |uuid| uuid.to_string())
}

const fn origin_name(origin: BlockOrigin) -> &'static str {
    match origin {
        BlockOrigin::Read => "read",
        BlockOrigin::Made => "made",
        BlockOrigin::Accepted => "accepted",
    }
}

/// An unknown name counts as the least certain origin.
fn origin(name: &str) -> BlockOrigin {
    match name {
        "read" => BlockOrigin::Read,
        "made" => BlockOrigin::Made,
        _ => BlockOrigin::Accepted,
    }
}
