//! The wire records: what the eBPF programs write into the ring buffer.
//!
//! A record is a `repr(C)` structure without implicit padding that begins with its [`Kind`]; the agent's `decode` turns
//! it into a domain event. Both sides are built from this file, so that there is no version to negotiate: a record
//! whose kind or length is not one of these is an error that is counted.

mod attempt;
mod block;
mod judgement;
mod notice;
mod task;
mod text;

pub use attempt::{Attempt, BLOCK_HEAD, CaptureFlags, Personality};
pub use block::{Block, BlockHead};
pub use judgement::{Decision, Judgement, Unjudged};
pub use notice::{Notice, NoticeKind};
pub use task::{PF_KTHREAD, TaskInfo};
pub use text::Text;

/// What kind of record it is: its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordKind {
    /// An [`Attempt`].
    Attempt = 1,
    /// A [`Notice`].
    Notice = 2,
    /// A [`Block`].
    Block = 3,
    /// A [`Judgement`].
    Judgement = 4,
}

impl RecordKind {
    /// The kind with this number, if there is one.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Attempt),
            2 => Some(Self::Notice),
            3 => Some(Self::Block),
            4 => Some(Self::Judgement),
            _ => None,
        }
    }
}

/// A type that any bytes of the right length are a value of: integers and arrays of them, without padding.
///
/// # Safety
/// The type must be `repr(C)`, hold only integers, arrays of them and other such types, and have no padding.
pub unsafe trait Plain: Copy {
    /// The value whose memory these bytes are, or `None` where their number is wrong.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked just now, the read asks for no alignment, and every bit pattern is a value.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// The bytes of the value.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: the type has no padding, so that all its bytes are initialised; they live as long as `self`.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}
