//! MAX_STRUCT_PAGE_SIZE of a kernel.
mod decode;
mod flow;
mod value;
pub use decode::*;
