//! What can be wrong with the file.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::schema::VERSION;
use crate::model::units::Bytes;

/// Why the event store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no file.
    #[error("there is no event store {}: no agent has created it yet, or the agent has another file (see --config and --store)", file.display())]
    Absent {
        /// The expected file.
        file: PathBuf,
    },
    /// The file of another program. It is not changed.
    #[error("{} is another program's SQLite file (application id {application_id:#x}): it was not changed; name another file in [store]", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The id of that program.
        application_id: i32,
    },
    /// A later pfnwatch has written it. It is not changed.
    #[error("{} has schema {version}, and this pfnwatch knows {VERSION}: it was not changed; use the pfnwatch that wrote it, or name another file in [store]", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        version: i32,
    },
    /// Each new file was damaged again.
    #[error("{} was damaged repeatedly: check the disk, then restart the agent", file.display())]
    DamagedAgain {
        /// The file.
        file: PathBuf,
    },
    /// A process reads an old state of the file for so long that SQLite's log has reached its limit.
    #[error(
        "{}-wal has more than {}, since {readers} keeps reading an old state of the event store: end it; nothing is written until then",
        file.display(),
        Bytes(*limit)
    )]
    LogHeld {
        /// The file.
        file: PathBuf,
        /// The limit of the log, in bytes.
        limit: u64,
        /// Who reads, as far as the kernel shows it.
        readers: String,
    },
    /// The folder or the file cannot be created.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// An error of SQLite.
    #[error("{error}")]
    Sqlite {
        /// The error.
        #[from]
        error: rusqlite::Error,
    },
    /// An error of SQLite about this file.
    #[error("{}: {error}", file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// The error.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the file is damaged, so that only a new one helps.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let (Self::Sqlite { error } | Self::InFile { error, .. }) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// The error with the name of the file.
    #[must_use]
    pub(super) fn in_file(self, file: &Path) -> Self {
        match self {
            Self::Sqlite { error } => Self::InFile { file: file.to_owned(), error },
            named => named,
        }
    }
}
