//! What the guard judges by, as the agent hands it over: one [`Snapshot`] at a time, in one of [`SLOTS`] slots.
//!
//! The agent writes the next slot and then moves the index [`crate::names::ACTIVE`]. The guard remembers the index while
//! it judges and compares at the end: within [`SLOTS`] - 2 swaps its slot cannot have been written to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const SLOTS: u32 = 8;
const _: () = assert!(SLOTS.is_power_of_two());

pub const MAX_EXEMPTIONS: usize = 64;

pub const NO_EXPIRY: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    Audit = 1,
    Enforce = 2,
}

/// Who has set the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ModeSource {
    Configuration = 1,
    Person = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExemptionKind {
    /// Namespaces that start within a range of physical addresses: a region.
    Range = 1,
    Namespace = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Exemption {
    /// [`ExemptionKind`].
    pub kind: u32,
    /// 1 if it is valid for one creation: it then has an entry under its `id` in [`crate::names::ONE_SHOT_EXEMPTIONS`].
    pub once: u32,
    /// Assigned by the agent, never reused while the agent or its pins exist.
    pub id: u64,
    /// When it expires, in nanoseconds since boot, suspend included; [`NO_EXPIRY`] for never.
    pub until_ns: u64,
    /// First physical address of the range.
    pub first: u64,
    /// Last physical address of the range.
    pub last: u64,
    /// The namespace uuid, in the order in which it is printed.
    pub namespace_uuid: [u8; 16],
}

impl Exemption {
    pub const EMPTY: Self = Self { kind: 0, once: 0, id: 0, until_ns: 0, first: 0, last: 0, namespace_uuid: [0; 16] };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Snapshot {
    /// How often libnvdimm had been loaded or unloaded when the agent read the host: see
    /// [`crate::names::MODULE_EPOCH`]. The numbers below and the known blocks hold for that libnvdimm only.
    pub module_epoch: u64,
    /// MAX_STRUCT_PAGE_SIZE of the running kernel in bytes; 0 if unknown.
    pub max_struct_page: u64,
    /// The struct page size of the ideal, in bytes.
    pub reference_struct_page: u64,
    /// PAGE_SIZE in bytes.
    pub page_size: u64,
    /// `memremap_compat_align()` in bytes.
    pub compat: u64,
    /// Limit: more than this many times the align; at most `u32::MAX`.
    pub aligns: u64,
    /// Limit: more than this many millionths of the namespace; at most a million.
    pub parts_per_million: u64,
    /// [`Mode`].
    pub mode: u32,
    pub exemption_count: u32,
    /// 1 once all known blocks are in the map: before that, the guard judges nothing.
    pub armed: u32,
    /// [`ModeSource`]: the next agent continues with a person's choice. The guard does not read it.
    pub mode_source: u32,
    /// The first `exemption_count` of them are valid.
    pub exemptions: [Exemption; MAX_EXEMPTIONS],
}

impl Snapshot {
    pub const EMPTY: Self = Self {
        module_epoch: 0,
        max_struct_page: 0,
        reference_struct_page: 0,
        page_size: 0,
        compat: 0,
        aligns: 0,
        parts_per_million: 0,
        mode: Mode::Audit as u32,
        exemption_count: 0,
        armed: 0,
        mode_source: ModeSource::Configuration as u32,
        exemptions: [Exemption::EMPTY; MAX_EXEMPTIONS],
    };
}

/// Whether an excess is worth a finding: it passes both limits. All sizes in bytes; `align` up to 4 GiB, `aligns` up to
/// `u32::MAX` and `parts_per_million` up to a million, so that nothing here wraps, and without the 128-bit arithmetic that
/// eBPF does not have.
#[inline]
#[must_use]
pub const fn is_oversize(excess: u64, size: u64, align: u64, aligns: u64, parts_per_million: u64) -> bool {
    const MILLION: u64 = 1_000_000;
    let share =
        (size / MILLION).wrapping_mul(parts_per_million) + (size % MILLION).wrapping_mul(parts_per_million) / MILLION;
    excess > align.wrapping_mul(aligns) && excess > share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_must_be_passed() {
        const MIB: u64 = 1 << 20;
        let size = 1000 * MIB;
        assert!(!is_oversize(2 * MIB, size, 2 * MIB, 1, 1000), "not more than one align");
        assert!(is_oversize(2 * MIB + 1, size, 2 * MIB, 1, 1000));
        assert!(!is_oversize(MIB, size, 4096, 1, 1000), "exactly a thousandth");
        assert!(is_oversize(MIB + 1, size, 4096, 1, 1000));
    }

    #[test]
    fn the_largest_numbers_do_not_wrap() {
        let size: u64 = u64::MAX;
        assert!(!is_oversize(size - 1, size, 1, 1, 1_000_000));
        assert!(is_oversize(size, size - 1, 1, 1, 1_000_000));
        let exact = u128::from(size) * 999_999 / 1_000_000;
        let exact = u64::try_from(exact).expect("below the size");
        assert!(!is_oversize(exact, size, 1, 1, 999_999));
        assert!(is_oversize(exact + 1, size, 1, 1, 999_999));
    }
}
