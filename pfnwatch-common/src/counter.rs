//! What the eBPF programs count, each on its own CPU.

use strum::{IntoStaticStr, VariantArray};

/// A counter: its value is its index in the per-CPU array `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u32)]
pub enum Counter {
    Emitted = 0,
    /// Records lost because the ring buffer was full.
    Lost = 1,
    ReadFault = 2,
    /// Attempts that could not be followed because the table of attempts in flight was full.
    TableFull = 3,
    /// Attempts that ended without their beginning having been seen, or the other way round.
    Unpaired = 4,
    /// Attempts of a driver on a device that has no namespace yet (a seed): nothing can be reserved, nothing is sent.
    Seed = 5,
    /// Creations that the guard allowed because a read or a map access of its own failed.
    GuardFault = 6,
    /// Creations that the guard allowed because it could not judge them.
    Unjudged = 7,
    /// Namespaces for which the map of known blocks had no room: the guard allows every creation on them.
    BlockMissed = 8,
    Denied = 9,
    WouldDeny = 10,
    Exempt = 11,
    /// Creations judged: all with map=dev for which there was evidence that they are creations.
    Judged = 12,
    /// Return probes that did not fire: a call whose entry was seen has ended without them.
    ReturnMissed = 13,
    /// Attempts and writes of a uuid that never ended, as far as the programs saw: the agent has removed them from their tables.
    Swept = 14,
}

impl Counter {
    pub const ALL: &[Self] = Self::VARIANTS;

    #[expect(clippy::cast_possible_truncation, reason = "there are few")]
    pub const COUNT: u32 = Self::ALL.len() as u32;

    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_place_in_the_list() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }

    #[test]
    fn names_are_those_of_the_metrics() {
        assert_eq!(Counter::ReadFault.name(), "read_fault");
    }
}
