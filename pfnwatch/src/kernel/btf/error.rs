//! Why a file is not used as BTF.

use std::io;

/// Why a file is not used as BTF.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read BTF from {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else, or BTF that this program does not understand.
    #[error("{file} is not BTF that pfnwatch can use: {reason}")]
    NotBtf {
        /// The file.
        file: String,
        /// What it is instead.
        reason: String,
    },
    /// The file begins as BTF and contradicts itself.
    #[error("the BTF in {file} is damaged: {reason}; read it again from the kernel it belongs to")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}
