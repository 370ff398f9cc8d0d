//! `struct task_struct`.

use super::{Read, value};

/// A pointer to a `struct task_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Task(u64);

impl Task {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    /// `flags`.
    #[inline(always)]
    pub(crate) fn flags(self) -> Read<u32> {
        value(self.0, |layout| &layout.task.flags)
    }
}
