//! The journal as the commands read it: beside an agent that writes to it, or without one. Nothing is written.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{blocks, boots, convert, costs, error::StoreError, event_store::sibling, open::version};
use crate::model::store::BootRow;
use crate::model::{capacity::CostRecord, info_block::SavedInfoBlock};

/// How long an agent that is about to replace the file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Which events are wanted; all, where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those behind this number.
    pub after: u64,
    /// Those from this time on.
    pub since: Option<SystemTime>,
    /// Those of these kinds, by the `event` of their JSON.
    pub kinds: Vec<String>,
    /// Those of a namespace, by its name or its namespace uuid.
    pub namespace: Option<String>,
    /// Only what was denied, and what would have been under enforce.
    pub denied: bool,
}

/// An event as it is in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub id: u64,
    /// Its JSON.
    pub json: String,
    /// The line for people, with its time.
    pub line: String,
}

/// An open journal.
#[derive(Debug)]
pub struct Reader {
    file: PathBuf,
    connection: Connection,
}

impl Reader {
    /// Opens a journal.
    ///
    /// # Errors
    /// There is none, it is not ours, or it cannot be read.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        if !file.exists() {
            return Err(StoreError::Absent { file: file.to_owned() });
        }
        let opened = connect(file).and_then(|connection| Ok((version(&connection, file)?, connection)));
        match opened.map_err(|error| error.in_file(file))? {
            (0, _) => Err(StoreError::Absent { file: file.to_owned() }),
            (_, connection) => Ok(Self { file: file.to_owned(), connection }),
        }
    }

    /// The last so many of the events that are wanted, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last(&self, wanted: &EventFilter, most: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT id, json, line FROM events WHERE {CONDITION} ORDER BY id DESC LIMIT {most}");
            let mut query = connection.prepare(&sql)?;
            let rows = query.query_map(wanted.parameters(), |row| {
                Ok(StoredEvent { id: convert::count(row.get(0)?), json: row.get(1)?, line: row.get(2)? })
            })?;
            let mut entries: Vec<_> = rows.collect::<Result<_, _>>()?;
            entries.reverse();
            Ok(entries)
        })
    }

    /// How many events are wanted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self, wanted: &EventFilter) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM events WHERE {CONDITION}");
        self.read(|connection| connection.query_row(&sql, wanted.parameters(), |row| row.get(0).map(convert::count)))
    }

    /// The JSON of all events of these kinds, the oldest first, one a line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&self, kinds: &[&str]) -> Result<String, StoreError> {
        let wanted =
            EventFilter { kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(), ..EventFilter::default() };
        self.read(|connection| {
            let mut query = connection.prepare(&format!("SELECT json FROM events WHERE {CONDITION} ORDER BY id"))?;
            let mut rows = query.query(wanted.parameters())?;
            let mut lines = String::new();
            while let Some(row) = rows.next()? {
                lines.push_str(row.get_ref(0)?.as_str()?);
                lines.push('\n');
            }
            Ok(lines)
        })
    }

    /// The info block of a namespace by its name, its namespace uuid, the block's uuid or its start address (`0x…`): of
    /// several the one that was seen last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn block(&self, which: &str) -> Result<Option<SavedInfoBlock>, StoreError> {
        Ok(self.read(blocks::all)?.into_iter().find(|block| block.is_of(which)))
    }

    /// Every boot that is remembered, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn boots(&self) -> Result<Vec<BootRow>, StoreError> {
        self.read(boots::all)
    }

    /// What namespaces cost, now and at the least.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn costs(&self) -> Result<Vec<CostRecord>, StoreError> {
        self.read(costs::all)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|error| StoreError::from(error).in_file(&self.file))
    }
}

/// What is wanted, in SQL. An index helps with the number alone: a journal has a hundred thousand events at most.
const CONDITION: &str = "id > ?1 AND time_us >= ?2 AND denied >= ?3 AND (?4 = '' OR instr(?4, ',' || kind || ',') > 0)
    AND (?5 IS NULL OR namespace = ?5 OR namespace_uuid = ?5)";

impl EventFilter {
    /// What stands for `?1` and so on.
    fn parameters(&self) -> (i64, i64, bool, String, Option<&str>) {
        // A comma before and behind each, so that no kind is found in another.
        let kinds = self.kinds.iter().fold(String::new(), |list, kind| format!("{list},{kind},"));
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        (after, self.since.map_or(i64::MIN, convert::micros), self.denied, kinds, self.namespace.as_deref())
    }
}

/// A file that nobody writes to, in a folder that cannot be written to, has no room for SQLite's own files: they are not needed
/// where no log was left.
fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let readable = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    match readable {
        Err(error) if has_no_room(&error) && !has_log(file) => {
            let uri = format!("file:{}?immutable=1", escaped(file));
            Ok(Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?)
        }
        readable => Ok(readable.map(|()| connection)?),
    }
}

/// As SQLite says it of a file system, and of a folder that is somebody else's.
fn has_no_room(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_log(file: &Path) -> bool {
    sibling(file, "-wal").metadata().is_ok_and(|log| log.len() > 0)
}

/// As a URI has it.
fn escaped(file: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    let bytes = file.as_os_str().as_bytes();
    bytes.iter().map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}
