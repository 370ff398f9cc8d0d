//! The eBPF programs of pfnwatch: they observe the bind of libnvdimm devices, and what happens to namespaces.
//!
//! Everything that one attempt of a driver to bind a device shows is gathered in one record, keyed by the thread, from
//! `nvdimm_bus_probe` to the end of `really_probe`: the driver core probes a device in one thread from beginning to end.
//!
//! All functions are inlined into their program but those with `inline(never)`: the guard's `link`, and those that the verifier
//! checks once by their types, with numbers as arguments and result (`count_one`, `exemption_for`, `exemption_at`,
//! `personality_at`, `reserved`).
#![no_std]
#![no_main]

mod begun_binds;
mod counters;
mod emit;
mod globals;
mod guard;
mod kernel;
mod known_blocks;
mod maps;
mod ownership;
mod probes;
mod task;
mod uuid;
mod written_uuids;

/// The tracing helpers are for programs under a licence that is compatible with the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics; what the compiler cannot prove of that would end in this loop, which the verifier refuses.
    loop {}
}
