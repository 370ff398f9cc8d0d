//! What was last seen of each namespace.

use std::time::SystemTime;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Journal, convert};

/// What was last seen of a namespace. It is known by its namespace uuid, or by its start address where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRow {
    /// `namespace0.0`
    pub namespace: String,
    /// The namespace uuid; none on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was last seen.
    pub last_seen: SystemTime,
    /// What it cost.
    pub seen: Seen,
}

/// What a namespace cost, and under which kernel that was seen. What is not known is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// The kernel's release.
    pub kernel: String,
    /// The reservation in bytes.
    pub reservation_bytes: Option<u64>,
    /// What users can store in.
    pub usable_bytes: Option<u64>,
    /// The alignment of the usable part, in bytes.
    pub align_bytes: Option<u64>,
    /// Where the memmap lives: `dev` or `mem`.
    pub map: Option<String>,
    /// The uuid of the info block.
    pub block_uuid: Option<Uuid>,
    /// MAX_STRUCT_PAGE_SIZE of the kernel that made the block, in bytes.
    pub page_struct_size_bytes: Option<u64>,
    /// `sizeof(struct page)` of the kernel under which this was seen, in bytes.
    pub struct_page_size_bytes: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE of that kernel, in bytes.
    pub max_struct_page_size_bytes: Option<u64>,
}

/// How the table names a namespace.
pub(super) fn key(uuid: Option<Uuid>, start_address: u64) -> String {
    uuid.map_or_else(|| format!("{start_address:#x}"), |uuid| uuid.to_string())
}

impl Journal {
    /// What was last seen of each namespace, by their start addresses; none where the journal cannot be read.
    pub fn namespaces(&mut self) -> Option<Vec<NamespaceRow>> {
        self.read(|connection| {
            let mut query =
                connection.prepare("SELECT * FROM namespaces WHERE seen IS NOT NULL ORDER BY start_address")?;
            let rows = query.query_map([], row)?;
            rows.collect()
        })
    }

    /// Remembers what was seen of a namespace in place of what was known before. Its info block stays as it is.
    pub fn remember_namespace(&mut self, namespace: &NamespaceRow) -> Option<()> {
        let seen = serde_json::to_string(&namespace.seen).ok()?;
        self.write(|connection| {
            connection.execute(
                "INSERT INTO namespaces (key, namespace, namespace_uuid, start_address, size_bytes, seen, last_seen_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
                 namespace = excluded.namespace, start_address = excluded.start_address,
                 size_bytes = excluded.size_bytes, seen = excluded.seen, last_seen_us = excluded.last_seen_us",
                params![
                    key(namespace.namespace_uuid, namespace.start_address),
                    namespace.namespace,
                    namespace.namespace_uuid.map(|uuid| uuid.to_string()),
                    namespace.start_address.cast_signed(),
                    namespace.size_bytes.cast_signed(),
                    seen,
                    convert::micros(namespace.last_seen),
                ],
            )
        })
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<NamespaceRow> {
    let seen: String = row.get("seen")?;
    Ok(NamespaceRow {
        namespace: row.get("namespace")?,
        namespace_uuid: convert::uuid(row.get("namespace_uuid")?),
        start_address: row.get::<_, i64>("start_address")?.cast_unsigned(),
        size_bytes: row.get::<_, i64>("size_bytes")?.cast_unsigned(),
        last_seen: convert::time(row.get("last_seen_us")?),
        seen: serde_json::from_str(&seen).unwrap_or_default(),
    })
}
