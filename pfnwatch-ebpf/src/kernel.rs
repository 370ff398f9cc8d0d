//! Kernel structures as typed pointers. Only this folder reads kernel memory, and only through the functions below.

mod device;
mod kernfs;
mod module;
mod name;
mod nd;
mod pagemap;
mod task;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf};
use aya_ebpf::programs::FExitContext;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::layout::{FieldOffset, Layout};
use pfnwatch_common::record::Text;

pub(crate) use self::device::Device;
pub(crate) use self::kernfs::KernfsNode;
pub(crate) use self::module::Module;
pub(crate) use self::nd::{Namespace, NdPfn, Region, claimed_by, label_name, uuid_behind};
pub(crate) use self::pagemap::Pagemap;
pub(crate) use self::task::Task;
use crate::counters::count;
use crate::globals::offset;

/// Kernel memory could not be read, which was counted.
#[derive(Clone, Copy)]
pub(crate) struct Fault;

pub(crate) type Read<T> = Result<T, Fault>;

type Pick = fn(&'static Layout) -> &'static FieldOffset;

#[inline(always)]
fn is_known(pick: Pick) -> bool {
    offset(pick).get().is_some()
}

#[inline(always)]
fn member(base: u64, pick: Pick) -> Read<u64> {
    match offset(pick).get() {
        Some(bytes) if base != 0 => Ok(base.wrapping_add(bytes as u64)),
        _ => fault(),
    }
}

/// The address of the structure whose member is at `member`: the kernel's `container_of`.
#[inline(always)]
fn container(member: u64, pick: Pick) -> Read<u64> {
    match offset(pick).get() {
        Some(bytes) if member != 0 => Ok(member.wrapping_sub(bytes as u64)),
        _ => fault(),
    }
}

#[inline(always)]
fn value<T>(base: u64, pick: Pick) -> Read<T> {
    let address = member(base, pick)?;
    // SAFETY: the helper checks the address and fails where nothing can be read; `T` is an integer at all callers.
    unsafe { bpf_probe_read_kernel(address as *const T) }.or_else(|_| fault())
}

/// Reads a pointer out of the member; a null pointer is `None`.
#[inline(always)]
fn pointer(base: u64, pick: Pick) -> Read<Option<u64>> {
    let address: u64 = value(base, pick)?;
    Ok((address != 0).then_some(address))
}

/// Reads a pointer at `address`; a null pointer is `None`.
#[inline(always)]
fn pointer_at(address: u64) -> Read<Option<u64>> {
    // SAFETY: the helper checks the address and fails where nothing can be read.
    let pointer: u64 = unsafe { bpf_probe_read_kernel(address as *const u64) }.or_else(|_| fault())?;
    Ok((pointer != 0).then_some(pointer))
}

/// The first argument of an exit program as a number. It is read out of the context: taken directly it is a pointer with a type
/// for the verifier, and a function that the verifier checks by its types takes numbers ("R1 is not a scalar", EINVAL).
#[inline(always)]
pub(crate) fn first_argument(ctx: &FExitContext) -> Read<u64> {
    // SAFETY: the helper checks the address. The context of an exit program begins with the arguments, a word each.
    unsafe { bpf_probe_read_kernel(ctx.as_ptr().cast_const().cast::<u64>()) }.or_else(|_| fault())
}

/// Reads a C string at `address`, cut where it does not fit.
#[expect(clippy::cast_possible_truncation, reason = "a text has some hundred bytes at the most")]
#[inline(always)]
pub(crate) fn text<const N: usize>(address: u64, into: &mut Text<N>) -> Read<()> {
    // SAFETY: the helper checks the address and writes at most `N` bytes.
    let read = unsafe { bpf_probe_read_kernel_str(into.0.as_mut_ptr().cast(), N as u32, address as *const _) };
    if read < 0 { fault() } else { Ok(()) }
}

#[inline(always)]
fn words(address: u64) -> Read<[u64; 2]> {
    // SAFETY: the helper checks the address and fails where nothing can be read.
    unsafe { bpf_probe_read_kernel(address as *const [u64; 2]) }.or_else(|_| fault())
}

#[inline(always)]
fn bytes(address: u64, into: &mut [u8]) -> Read<()> {
    // SAFETY: the helper checks the address and writes the slice's length.
    unsafe { bpf_probe_read_kernel_buf(address as *const u8, into) }.or_else(|_| fault())
}

#[inline(always)]
fn fault<T>() -> Read<T> {
    count(Counter::ReadFault);
    Err(Fault)
}
