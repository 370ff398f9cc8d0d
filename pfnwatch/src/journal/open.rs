//! Opens the file, or says why it cannot be used. A file of another program, or of a later schema, is not written to.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    error::Error,
    schema::{APPLICATION_ID, VERSION, migrate},
};

/// How long another process may hold the file before a write counts as failed. The agent has one thread.
const PATIENCE: Duration = Duration::from_millis(250);

/// Opens the file for the agent; makes it where it is not there.
pub(super) fn open(file: &Path) -> Result<Connection, Error> {
    make(file).map_err(|error| Error::File { file: file.to_owned(), error })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let version = version(&connection, file)?;
    if version == 0 {
        // Only before the first table: pages that became free then go back to the file system (retention.rs).
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Answers with the mode.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // Whatever a sink was told has reached the disk: that takes one fsync for each commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // In KiB: the agent's memory is dearer than a second look at a page that the kernel has.
    connection.pragma_update(None, "cache_size", -128)?;
    // In pages: the file beside the file stays at 1 MiB or so, and what its index takes below. `Journal::settle` comes first.
    connection.pragma_update(None, "wal_autocheckpoint", 256)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
    migrate(&mut connection, version)?;
    Ok(connection)
}

/// The schema of the file, if it is ours; 0 for an empty one.
pub(super) fn version(connection: &Connection, file: &Path) -> Result<i32, Error> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application_id, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application_id != APPLICATION_ID {
        return Err(Error::Foreign { file: file.to_owned(), application_id });
    }
    if !(1..=VERSION).contains(&version) {
        return Err(Error::Newer { file: file.to_owned(), version });
    }
    Ok(version)
}

/// Root's alone: events name users, processes and their cgroups. SQLite gives the files beside it the same mode.
fn make(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}
