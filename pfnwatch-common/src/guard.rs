//! What the guard's two sides agree on beyond the policy.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version of the maps that stay pinned while the guard runs without an agent; part of the pins' path. Increase it
/// whenever a map's key, value or meaning changes.
pub const PIN_VERSION: u32 = 4;

/// In `KNOWN_BLOCKS`, instead of a uuid: the namespace was not inspected, so it may hold any block.
pub const UNKNOWN_BLOCK: [u8; 16] = [0xff; 16];

pub const MISSED_SLOTS: usize = 8192;

/// The slot of a block uuid in `MISSED_BLOCKS`: of thirteen bits, which are random in a uuid of version 4.
#[inline]
#[must_use]
pub const fn missed_slot(uuid: &[u8; 16]) -> usize {
    ((uuid[0] as usize) << 5 | (uuid[1] as usize) >> 3) & (MISSED_SLOTS - 1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MissedBlocks(pub [u8; MISSED_SLOTS]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_within_the_table() {
        assert_eq!(missed_slot(&[0xff; 16]), MISSED_SLOTS - 1);
        assert_eq!(missed_slot(&[0; 16]), 0);
        let mut uuid = [0; 16];
        uuid[1] = 8;
        assert_eq!(missed_slot(&uuid), 1);
    }
}
