//! Opens the file. A file of another program, or of a later schema, is not written to.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, geteuid};
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::event_store::sibling;
use super::schema::{self, APPLICATION_ID, VERSION};
use crate::os::reader_group;

/// How long another process may lock the file before a write counts as failed. The agent has one thread.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// A file that is open for the agent.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Why the reader group cannot read it.
    pub(super) unshared: Option<String>,
}

/// Opens the file for the agent. It creates a missing file, and migrates one of an earlier schema.
pub(super) fn open(file: &Path) -> Result<Opened, StoreError> {
    create(file).map_err(|error| StoreError::File { file: file.to_owned(), error })?;
    let unshared = reader_group::reader_group().and_then(|group| {
        let error = share(file, group).err()?;
        Some(format!("the group {group} cannot read the event store {}: {error}", file.display()))
    });
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if version(&connection, file)? == 0 {
        // Only before the first table. Free pages then return to the file system (retention.rs).
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // It returns the mode.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A published event has reached the disk: that takes one fsync for each commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // In KiB. The kernel has the pages as well, and the agent's memory is limited.
    connection.pragma_update(None, "cache_size", -128)?;
    // In pages: the log stays below about 4 MiB. `EventStore::checkpoint` comes first unless events never pause; then one commit
    // in 150 waits for this.
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
    schema::migrate(&mut connection)?;
    Ok(Opened { connection, unshared })
}

/// The schema of the file, if it is ours; 0 for an empty one.
pub(super) fn version(connection: &Connection, file: &Path) -> Result<i32, StoreError> {
    let application_id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = schema::version(connection)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application_id != APPLICATION_ID {
        return Err(StoreError::Foreign { file: file.to_owned(), application_id });
    }
    if !(1..=VERSION).contains(&version) {
        return Err(StoreError::Newer { file: file.to_owned(), version });
    }
    Ok(version)
}

/// Only root may read a new file: events name users, processes and their cgroups. SQLite gives its log the same mode.
fn create(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Lets a group read the file and SQLite's log, which it needs. It opens neither: closing a file ends the locks that this process has
/// on it.
fn share(file: &Path, group: Gid) -> io::Result<()> {
    for file in ["", "-wal", "-shm"].map(|suffix| sibling(file, suffix)) {
        let ours = |found: &fs::Metadata| found.is_file() && found.uid() == geteuid().as_raw();
        if fs::symlink_metadata(&file).as_ref().is_ok_and(ours) {
            chown(&file, None, Some(group.as_raw()))?;
            fs::set_permissions(&file, Permissions::from_mode(0o640))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::unistd::getegid;

    use super::*;

    #[test]
    fn what_is_shared_can_be_read_by_the_group_and_written_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pfnwatch.db");
        let mode = |file: &Path| fs::metadata(file).unwrap().mode() & 0o777;
        create(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        // As a killed agent leaves it.
        let log = sibling(&file, "-wal");
        create(&log).unwrap();
        // The file of somebody else is not shared.
        let other = folder.path().join("other");
        create(&other).unwrap();
        symlink(&other, sibling(&file, "-shm")).unwrap();
        share(&file, getegid()).unwrap();
        assert_eq!((mode(&file), mode(&log), mode(&other)), (0o640, 0o640, 0o600));
        // SQLite gives its log the mode of the file.
        fs::remove_file(sibling(&file, "-shm")).unwrap();
        fs::remove_file(&log).unwrap();
        let _opened = open(&file).unwrap();
        assert_eq!((mode(&log), mode(&sibling(&file, "-shm"))), (0o640, 0o640));
    }
}
