//! With real files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;

mod rows;

/// A folder, and the settings for a journal in it.
fn place() -> (TempDir, Settings) {
    let folder = TempDir::new().unwrap();
    let file = Some(folder.path().join("deep/pfnwatch.db"));
    (folder, Settings { file, ..Settings::default() })
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn namespace(number: u8) -> NamespaceRow {
    NamespaceRow {
        namespace: format!("namespace{number}.0"),
        namespace_uuid: (number > 0).then(|| Uuid::from_bytes([number; 16])),
        start_address: u64::MAX - u64::from(number),
        size_bytes: 1 << 40,
        last_seen: at(1000),
        seen: Seen { kernel: "6.1.9".to_owned(), reservation_bytes: Some(32 << 30), ..Seen::default() },
    }
}
