//! The maps.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use pfnwatch_common::{counter::Counter, record::Attempt};

/// Records for the agent. Its size is the agent's to choose.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// See [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Attempts in flight, by thread id. An entry is made when one begins, so that an idle host keeps none.
#[map]
pub(crate) static ATTEMPTS: HashMap<u32, Attempt> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
