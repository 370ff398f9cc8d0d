//! An LSM program on the guard's hook that does nothing: the guard's cost is compared with it. It is no part of the
//! agent; `cargo xtask bench guard` builds it and loads it in a guest.
#![no_std]
#![no_main]

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

/// Returns what it was given: the answer of the program before it on the hook.
#[lsm(hook = "kernfs_init_security")]
fn empty(ctx: LsmContext) -> i32 {
    ctx.arg(2)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
