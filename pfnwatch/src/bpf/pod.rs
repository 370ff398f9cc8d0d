//! What is shared with the eBPF programs, as aya takes it.

use aya::Pod;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Wire<T>(pub(super) T);

// SAFETY: any bytes are a value (`FromBytes`), and all bytes of a value are initialised (`IntoBytes`); `repr(transparent)`.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Pod for Wire<T> {}
