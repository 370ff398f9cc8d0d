//! Why bytes are no info block, and why an info block does not fit its namespace.

use core::fmt;

use super::Checksum;

/// Why bytes are no info block. A kernel takes each of these for "no block".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Fewer bytes than the part asked for.
    TooShort { len: usize, needed: usize },
    /// The first sixteen bytes are neither fsdax's nor devdax's signature.
    Signature,
    /// The block was damaged, or was never whole.
    Checksum(Checksum),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len, needed } => write!(f, "an info block takes {needed} bytes, only {len} are here"),
            Self::Signature => {
                f.write_str("no info block: neither NVDIMM_PFN_INFO nor NVDIMM_DAX_INFO is its signature")
            }
            Self::Checksum(Checksum { stored, computed }) => {
                write!(f, "damaged info block: its checksum is {stored:#018x}, its bytes add up to {computed:#018x}")
            }
        }
    }
}

impl core::error::Error for ParseError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryMismatch {
    /// Neither map=mem (1) nor map=dev (2).
    Mode(u32),
    /// No power of two, or larger than the namespace.
    Align {
        /// The block's align in bytes.
        align: u64,
        /// The namespace's size in bytes.
        size: u64,
    },
    /// Reservation and end_trunc take more than the namespace has: it shrank, or the block is another's.
    Beyond {
        /// The namespace's size in bytes.
        size: u64,
    },
    /// Usable bytes would begin within the first 8 KiB.
    InHead {
        /// The block's dataoff in bytes.
        dataoff: u64,
    },
    /// The first usable byte is not aligned: the namespace's base moved since the block was made.
    Misaligned {
        start: u64,
        /// The block's align in bytes.
        align: u64,
    },
    /// More usable pages than there is room.
    Npfns {
        npfns: u64,
        /// Bytes that reservation and end_trunc leave.
        room: u64,
    },
}

impl fmt::Display for GeometryMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "mode {mode} is neither map=mem (1) nor map=dev (2)"),
            Self::Align { align, size } => write!(f, "align {align} does not suit a namespace of {size} bytes"),
            Self::Beyond { size } => write!(f, "reservation and end_trunc exceed the namespace's {size} bytes"),
            Self::InHead { dataoff } => write!(f, "dataoff {dataoff} lies within the first 8 KiB"),
            Self::Misaligned { start, align } => {
                write!(f, "in a namespace at {start:#x} the first usable byte is no multiple of align {align}")
            }
            Self::Npfns { npfns, room } => write!(f, "{npfns} usable pages do not fit the {room} bytes left"),
        }
    }
}

impl core::error::Error for GeometryMismatch {}
