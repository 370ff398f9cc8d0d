//! Machine code and the flow of values through it. Pure.

pub(crate) mod arm64;
mod empty_block;
mod flow;
pub mod max_struct_page;
pub mod memmap_free;
mod value;
