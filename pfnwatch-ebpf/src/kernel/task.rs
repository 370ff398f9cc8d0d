//! `struct task_struct`.

use super::{Read, value};

#[derive(Clone, Copy)]
pub(crate) struct Task(u64);

impl Task {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn flags(self) -> Read<u32> {
        value(self.0, |layout| &layout.task.flags)
    }
}
