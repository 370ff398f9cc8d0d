//! What can be wrong with the journal's file.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::schema::VERSION;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// Another program's file: it is not touched.
    #[error("{} is another program's SQLite file (application id {application_id:#x}): it is left as it is; name another file in [journal]", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        application_id: i32,
    },
    /// A later pfnwatch has written it: it is not touched.
    #[error("{} has schema {version}, and this pfnwatch knows {VERSION}: it is left as it is; use the pfnwatch that wrote it, or name another file in [journal]", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        version: i32,
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
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl Error {
    /// Whether the file is damaged: nothing but a new one helps.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Whether the file is somebody else's, so that no waiting helps.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::Newer { .. })
    }
}
