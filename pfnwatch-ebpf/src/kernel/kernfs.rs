//! `struct kernfs_node`, as the guard gets it: a pointer that the verifier knows, so that a read costs one instruction.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::helpers::{self};
use pfnwatch_common::layout::FieldOffset;

use super::{Fault, Pick, Read, fault};
use crate::globals::offset;

/// A `struct kernfs_node *` that is an argument of an LSM program.
#[derive(Clone, Copy)]
pub(crate) struct KernfsNode(*const u8);

/// `enum kernfs_node_type` (include/linux/kernfs.h): the lowest four bits of the flags, and a link.
const TYPE_MASK: u16 = 0xf;
const LINK: u16 = 4;

/// "driver" with its NUL, as a little-endian word.
const DRIVER: u64 = u64::from_le_bytes(*b"driver\0\0");

impl KernfsNode {
    /// # Safety
    /// `address` is an argument of the program, with the type `struct kernfs_node *` in the kernel's own types: the
    /// verifier sees to it that only members of that structure are read through it.
    #[inline(always)]
    pub(crate) unsafe fn argument(address: *const u8) -> Self {
        Self(address)
    }

    /// False on a kernel whose BTF does not have the flags.
    #[inline(always)]
    pub(crate) fn is_link(self) -> bool {
        match self.read::<u16>(|layout| &layout.kernfs_node.flags) {
            Some(flags) => flags & TYPE_MASK == LINK,
            None => false,
        }
    }

    #[inline(always)]
    pub(crate) fn is_named_driver(self) -> Read<bool> {
        let Some(name) = self.read::<u64>(|layout| &layout.kernfs_node.name) else { return Err(Fault) };
        let mut word = 0u64;
        // SAFETY: the helper checks the source, and writes the seven bytes within the word: no more are the name's own.
        if unsafe { bpf_probe_read_kernel((&raw mut word).cast(), 7, name as *const _) } != 0 {
            return fault();
        }
        Ok(word == DRIVER)
    }

    /// `id`: no two nodes of sysfs have the same (`idr_alloc_cyclic` with a generation, `__kernfs_new_node` in
    /// fs/kernfs/dir.c), and it is set when the hook is called. `None` if the kernel's BTF does not have it: the guard
    /// is not attached there.
    #[inline(always)]
    pub(crate) fn id(self) -> Option<u64> {
        self.read(|layout| &layout.kernfs_node.id)
    }

    /// `priv`: of a directory in sysfs, its kobject. By the helper, of which the verifier knows that it gives a number: what is
    /// read through this pointer is a pointer to it (6.18), which no function takes for the number that it is.
    #[inline(always)]
    pub(crate) fn private(self) -> Option<u64> {
        let bytes = FieldOffset::get(offset(|layout| &layout.kernfs_node.private))?;
        // SAFETY: the helper checks the address and fails where nothing can be read.
        let private = unsafe { helpers::bpf_probe_read_kernel(self.0.add(bytes as usize).cast::<u64>()) };
        private.ok().filter(|address| *address != 0)
    }

    #[inline(always)]
    fn read<T: Copy>(self, pick: Pick) -> Option<T> {
        let bytes = FieldOffset::get(offset(pick))?;
        // SAFETY: the verifier lets only members of the structure be read through this pointer, and the kernel turns
        // a read that faults into zero; `T` is an integer at all callers.
        Some(unsafe { core::ptr::read_volatile(self.0.add(bytes as usize).cast::<T>()) })
    }
}
