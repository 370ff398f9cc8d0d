//! The wire records: what the eBPF programs write into the ring buffer.
//!
//! A record is a `repr(C)` structure without padding (else `IntoBytes` cannot be derived) that begins with its
//! [`RecordKind`]; the agent's `decode` turns it into a domain event. Both sides are built from this file, so that there is no version to
//! negotiate: a record whose kind or length is not one of these is an error that is counted.

use zerocopy::{IntoBytes as _, TryFromBytes};

mod attempt;
mod block;
mod judgement;
mod notice;
mod removal;
mod task;
mod text;

pub use attempt::{Attempt, BLOCK_HEAD, CaptureFlags, Personality};
pub use block::{Block, BlockHead};
pub use judgement::{Decision, Judgement, Unjudged};
pub use notice::{Notice, NoticeKind};
pub use removal::MemmapRemoval;
pub use task::{PF_KTHREAD, TaskInfo};
pub use text::Text;

/// What kind of record it is: its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum RecordKind {
    Attempt = 1,
    Notice = 2,
    Block = 3,
    Judgement = 4,
    MemmapRemoval = 5,
}

/// The variant of a wire enum with this number, if there is one.
#[must_use]
pub fn variant<E: TryFromBytes>(number: u32) -> Option<E> {
    E::try_read_from_bytes(number.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_variants_are_variants() {
        assert_eq!(variant(1), Some(RecordKind::Attempt));
        assert_eq!(variant::<RecordKind>(5), Some(RecordKind::MemmapRemoval));
        assert_eq!(variant(0), Some(Unjudged::None));
        for none in [0, 6, 0x0100_0000, u32::MAX] {
            assert_eq!(variant::<RecordKind>(none), None);
        }
    }
}
