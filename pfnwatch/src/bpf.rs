//! The eBPF side as the agent sees it: what to attach, attaching it, its ring buffer and its counters.
//! Only this folder imports aya.

pub mod attach;
pub mod block_reader;
mod btf_ids;
pub mod counters;
mod debug_log;
pub mod decode;
pub mod guard;
mod leftovers;
mod loader;
pub mod pins;
mod pod;
mod preallocated;
mod probe_link;
pub mod program_stats;
mod record_stream;
mod ring;
pub mod sensor;
pub mod takeover;
