//! Why a file is not used as BTF.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("cannot read BTF from {file}: {source}")]
    Read { file: String, source: io::Error },
    /// Another format, or BTF that is not supported.
    #[error("{file} is not BTF that pfnwatch can use: {reason}")]
    NotBtf { file: String, reason: String },
    #[error("the BTF in {file} is damaged: {reason}; read it again from the kernel it belongs to")]
    Damaged { file: String, reason: String },
}
