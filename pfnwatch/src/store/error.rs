//! What can be wrong with the journal's file.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::schema::VERSION;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is none.
    #[error("there is no event store {}: no agent has written one yet, or it writes elsewhere (--config and --store say where)", file.display())]
    Absent {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// Another program's file: it is not touched.
    #[error("{} is another program's SQLite file (application id {application_id:#x}): it is left as it is; name another file in [store]", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        application_id: i32,
    },
    /// A later pfnwatch has written it: it is not touched.
    #[error("{} has schema {version}, and this pfnwatch knows {VERSION}: it is left as it is; use the pfnwatch that wrote it, or name another file in [store]", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        version: i32,
    },
    /// Each new file was damaged again.
    #[error("{} is damaged again and again: look at the disk, and start the agent anew", file.display())]
    DamagedAgain {
        /// The file.
        file: PathBuf,
    },
    /// The folder or the file cannot be made.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What SQLite says.
    #[error("{error}")]
    Sqlite {
        /// That.
        #[from]
        error: rusqlite::Error,
    },
    /// The same, of a file.
    #[error("{}: {error}", file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the file is damaged: nothing but a new one helps.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let (Self::Sqlite { error } | Self::InFile { error, .. }) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// The same, with the file's name.
    #[must_use]
    pub(super) fn in_file(self, file: &Path) -> Self {
        match self {
            Self::Sqlite { error } => Self::InFile { file: file.to_owned(), error },
            named => named,
        }
    }
}
