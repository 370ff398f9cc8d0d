//! Damaged files that were set aside: the oldest are deleted if there are too many.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::event_store::sibling;

/// What the name of a damaged file has after the store's name. The time of its renaming follows.
pub(super) const SUFFIX: &str = ".damaged-";

/// Deletes the oldest damaged files of this store above the limit, with the files that SQLite had beside each. Returns how many.
pub(super) fn delete_surplus(store: &Path, max: usize) -> u64 {
    let (Some(folder), Some(start)) = (store.parent(), sibling(store, SUFFIX).file_name().map(OsString::from)) else {
        return 0;
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_damaged = |name: &OsString| {
        let name = name.as_bytes();
        name.starts_with(start.as_bytes()) && !name.ends_with(b"-wal") && !name.ends_with(b"-shm")
    };
    // Their times sort as their names do.
    let names: BTreeSet<_> = entries.filter(is_damaged).collect();
    let surplus = names.len().saturating_sub(max);
    let delete = |name: &OsString| {
        let file = folder.join(name);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(sibling(&file, suffix));
        }
        match fs::remove_file(&file) {
            Ok(()) => tracing::warn!("{} was deleted: {max} damaged event stores are kept", file.display()),
            Err(error) => tracing::warn!("{} cannot be deleted: {error}", file.display()),
        }
        !file.exists()
    };
    let deleted = names.iter().take(surplus).filter(|name| delete(name)).count();
    u64::try_from(deleted).unwrap_or(u64::MAX)
}
