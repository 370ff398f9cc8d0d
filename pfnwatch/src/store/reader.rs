//! The event store as the commands read it: while an agent writes to it, or without an agent. They write nothing.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::StoreError;
use super::event_store::sibling;
use super::open::version;
use super::schema::{VERSION, migrate};
use super::{blocks, boots, convert, costs, devices};
use crate::model::capacity::{CostRecord, DeviceRecord};
use crate::model::info_block::SavedInfoBlock;
use crate::model::store::BootRow;

/// How long to wait for an agent that is replacing the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Which events are wanted. The default is all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those with a higher number.
    pub after: u64,
    /// Those since this time.
    pub since: Option<SystemTime>,
    /// Those of these kinds (the `event` of their JSON).
    pub kinds: Vec<String>,
    /// Those of a namespace with this name or namespace uuid.
    pub namespace: Option<String>,
    /// Only denials, and would-denials in audit mode.
    pub denied: bool,
}

/// An event in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub id: u64,
    /// Its JSON.
    pub json: String,
    /// The line for people, with its time.
    pub line: String,
}

/// An event store that is open for reading.
#[derive(Debug)]
pub struct Reader {
    file: PathBuf,
    connection: Connection,
}

impl Reader {
    /// Opens a file. A file of an earlier schema is copied into memory and migrated there: the agent migrates the file itself.
    ///
    /// # Errors
    /// It does not exist, is another program's, or cannot be read.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        if !file.exists() {
            return Err(StoreError::Absent { file: file.to_owned() });
        }
        let opened = connect(file).and_then(|connection| match version(&connection, file)? {
            0 => Err(StoreError::Absent { file: file.to_owned() }),
            VERSION => Ok(connection),
            _ => Ok(migrated_copy(&connection)?),
        });
        let connection = opened.map_err(|error| error.in_file(file))?;
        Ok(Self { file: file.to_owned(), connection })
    }

    /// The last `limit` of the wanted events, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last(&self, wanted: &EventFilter, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT id, json, line FROM events WHERE {CONDITION} ORDER BY id DESC LIMIT {limit}");
            let mut query = connection.prepare(&sql)?;
            let rows = query.query_map(wanted.parameters(), |row| {
                Ok(StoredEvent { id: convert::count(row.get(0)?), json: row.get(1)?, line: row.get(2)? })
            })?;
            let mut events: Vec<_> = rows.collect::<Result<_, _>>()?;
            events.reverse();
            Ok(events)
        })
    }

    /// The number of wanted events.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self, wanted: &EventFilter) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM events WHERE {CONDITION}");
        self.read(|connection| connection.query_row(&sql, wanted.parameters(), |row| row.get(0).map(convert::count)))
    }

    /// The JSON of all events of these kinds, the oldest first, one per line.
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

    /// The info block of a namespace by its name, its namespace uuid, the block's uuid or its start address (`0x…`). If there
    /// are several, it is the one that was seen last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn block(&self, which: &str) -> Result<Option<SavedInfoBlock>, StoreError> {
        Ok(self.blocks()?.into_iter().find(|block| block.is_of(which)))
    }

    /// The info block of each namespace, the one that was seen last first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn blocks(&self) -> Result<Vec<SavedInfoBlock>, StoreError> {
        self.read(blocks::all)
    }

    /// Every boot, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn boots(&self) -> Result<Vec<BootRow>, StoreError> {
        self.read(boots::all)
    }

    /// What each namespace costs now, and the least it ever cost.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn costs(&self) -> Result<Vec<CostRecord>, StoreError> {
        self.read(costs::all)
    }

    /// What each device without a namespace serves, and what that is compared with.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StoreError> {
        self.read(devices::all)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|error| StoreError::from(error).in_file(&self.file))
    }
}

/// The filter in SQL. An index is used for the number only: a store has at most about 100,000 events.
const CONDITION: &str = "id > ?1 AND time_us >= ?2 AND denied >= ?3 AND (?4 = '' OR instr(?4, ',' || kind || ',') > 0)
    AND (?5 IS NULL OR namespace = ?5 OR namespace_uuid = ?5)";

impl EventFilter {
    /// The parameters `?1` to `?5`.
    fn parameters(&self) -> (i64, i64, bool, String, Option<&str>) {
        // A comma before and after each, so that no kind matches a part of another.
        let kinds = self.kinds.iter().fold(String::new(), |list, kind| format!("{list},{kind},"));
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        (after, self.since.map_or(i64::MIN, convert::micros), self.denied, kinds, self.namespace.as_deref())
    }
}

/// In a folder that cannot be written to, SQLite cannot create its log. It does not need one if nobody writes to the file and no log
/// was left.
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

/// The errors of a read-only file system, and of a folder of another user.
fn has_no_room(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// A copy in memory, which is of this version.
fn migrated_copy(old: &Connection) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    // All pages in one step, so that an agent cannot change the file meanwhile.
    Backup::new(old, &mut copy)?.step(-1)?;
    migrate(&mut copy)?;
    Ok(copy)
}

fn has_log(file: &Path) -> bool {
    sibling(file, "-wal").metadata().is_ok_and(|log| log.len() > 0)
}

/// The path as a part of a URI.
fn escaped(file: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    let bytes = file.as_os_str().as_bytes();
    bytes.iter().map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}
