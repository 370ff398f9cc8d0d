//! What is known of a register's content.

use std::collections::BTreeSet;

use iced_x86::Register;

/// More possible constants than this count as unknown.
const MAX_CONSTANTS: usize = 4;
/// What `size - SZ_8K` subtracts of `size`, and of `end - start`, where end is the last byte.
const HEADS: [u64; 2] = [0x2000, 0x1fff];
/// PAGE_SHIFT of x86.
const PAGE_SHIFT: u32 = 12;
const WHOLE_PAGES: u64 = u64::MAX << PAGE_SHIFT;

/// What is known of a value. The kernel computes dataoff as `N * ((size - 8192) >> 12)`: `BehindHead`, `Shifted` and `Pages` are
/// the steps on that way. `DataOff` and `Room` are given to registers by who asks (`empty_block`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    Constants(BTreeSet<u64>),
    /// Something unknown without the 8 KiB at the start of a namespace.
    BehindHead,
    /// That, shifted right by less than a page's bits: clang masks the rest away, and has multiplied with `shr 6; and -64`.
    Shifted(u32),
    /// So many times the number of pages behind the head.
    Pages(u64),
    DataOff,
    /// What dataoff is compared with, less dataoff, less something else, in pages instead of bytes.
    Room {
        less_dataoff: bool,
        less_other: bool,
        in_pages: bool,
    },
    /// A pointer to the `struct page` that a function gets (`memmap_free`).
    Page,
    /// The order that is in that page itself if it is the head of a compound page, else 0.
    PageOrder,
}

impl Value {
    pub(super) fn constant(constant: u64) -> Self {
        Self::Constants(BTreeSet::from([constant]))
    }

    /// The constants that it can be, if it is known to be one of a few.
    pub(super) fn sizes(&self) -> Option<&BTreeSet<u64>> {
        if let Self::Constants(constants) = self { Some(constants) } else { None }
    }

    pub(super) fn joined(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Constants(a), Self::Constants(b)) => {
                let both = a | b;
                if both.len() > MAX_CONSTANTS { Self::Unknown } else { Self::Constants(both) }
            }
            (a, b) if a == b => a.clone(),
            (Self::PageOrder, other) | (other, Self::PageOrder) if *other == Self::constant(0) => Self::PageOrder,
            _ => Self::Unknown,
        }
    }

    /// `operation(self, immediate)` in a register of `width` bytes, for constants.
    pub(super) fn map(&self, immediate: u64, width: usize, operation: impl Fn(u64, u64) -> u64) -> Self {
        match self {
            Self::Constants(constants) => {
                Self::Constants(constants.iter().map(|&constant| operation(constant, immediate)).collect())
                    .within(width)
            }
            _ => Self::Unknown,
        }
    }

    pub(super) fn plus(&self, immediate: u64, width: usize) -> Self {
        match self {
            Self::Unknown if width == 8 && HEADS.contains(&immediate.wrapping_neg()) => Self::BehindHead,
            value => value.map(immediate, width, u64::wrapping_add),
        }
    }

    /// The sum of two registers.
    pub(super) fn and_more(&self, other: &Self, width: usize) -> Self {
        match (self, other) {
            (Self::Pages(a), Self::Pages(b)) if width == 8 => a.checked_add(*b).map_or(Self::Unknown, Self::Pages),
            _ => Self::Unknown,
        }
    }

    /// So many times the pages; anything else is not followed.
    pub(super) fn times(&self, factor: u64, width: usize) -> Self {
        match self {
            Self::Pages(pages) if width == 8 => pages.checked_mul(factor).map_or(Self::Unknown, Self::Pages),
            _ => Self::Unknown,
        }
    }

    /// Without the bits that `mask` lacks.
    pub(super) fn masked(&self, mask: u64, width: usize) -> Self {
        match self {
            Self::BehindHead if width == 8 && mask == WHOLE_PAGES => Self::Pages(1 << PAGE_SHIFT),
            Self::Shifted(by) if width == 8 && mask == u64::MAX << (PAGE_SHIFT - by) => {
                Self::Pages(1 << (PAGE_SHIFT - by))
            }
            value => value.map(mask, width, |a, b| a & b),
        }
    }

    pub(super) fn less(&self, other: &Self, width: usize) -> Self {
        match (self, other) {
            (Self::Pages(a), Self::Pages(b)) if width == 8 => a.checked_sub(*b).map_or(Self::Unknown, Self::Pages),
            (&Self::Room { less_dataoff: false, less_other, in_pages: false }, Self::DataOff) if width == 8 => {
                Self::Room { less_dataoff: true, less_other, in_pages: false }
            }
            (&Self::Room { less_dataoff, less_other: false, in_pages: false }, Self::Unknown) if width == 8 => {
                Self::Room { less_dataoff, less_other: true, in_pages: false }
            }
            _ => Self::Unknown,
        }
    }

    pub(super) fn shifted_right(&self, by: u64, width: usize) -> Self {
        let Some(by) = u32::try_from(by).ok().filter(|by| *by <= PAGE_SHIFT && width == 8) else {
            return Self::Unknown;
        };
        match self {
            Self::BehindHead if by == PAGE_SHIFT => Self::Pages(1),
            Self::BehindHead => Self::Shifted(by),
            Self::Pages(pages) if pages.trailing_zeros() >= by => Self::Pages(pages >> by),
            &Self::Room { less_dataoff, less_other, in_pages: false } if by == PAGE_SHIFT => {
                Self::Room { less_dataoff, less_other, in_pages: true }
            }
            _ => Self::Unknown,
        }
    }

    /// What is left of it in a register of `width` bytes: 32-bit writes clear the upper half.
    pub(super) fn within(self, width: usize) -> Self {
        match (self, width) {
            (value, 8) => value,
            // A byte fits.
            (Self::PageOrder, 4) => Self::PageOrder,
            (Self::Constants(constants), 4) => {
                Self::Constants(constants.into_iter().map(|constant| constant & 0xffff_ffff).collect())
            }
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers([Value; 16]);

impl Registers {
    pub(super) fn unknown() -> Self {
        Self(std::array::from_fn(|_| Value::Unknown))
    }

    /// The content of the 64-bit register that `register` is part of; `None` for other than general-purpose registers.
    pub(super) fn get(&self, register: Register) -> Option<&Value> {
        if register.is_gpr() { self.0.get(register.full_register().number()) } else { None }
    }

    pub(super) fn set(&mut self, register: Register, value: Value) {
        if register.is_gpr()
            && let Some(place) = self.0.get_mut(register.full_register().number())
        {
            *place = value;
        }
    }

    /// What a called function may change, by the System V ABI.
    pub(super) fn forget_at_call(&mut self) {
        use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
        for register in [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11] {
            self.set(register, Value::Unknown);
        }
    }

    /// Merges the state of another path to the same instruction. Returns whether anything changed.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let joined = mine.joined(theirs);
            changed |= joined != *mine;
            *mine = joined;
        }
        changed
    }
}
