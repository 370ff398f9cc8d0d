//! MAX_STRUCT_PAGE_SIZE of a kernel.
mod decode;
mod flow;
mod value;
pub use decode::*;

/// Where the constant shows, the usual place first: compilers have inlined `nd_pfn_init` into it so far.
pub const FUNCTIONS: [&str; 2] = ["nvdimm_setup_pfn", "nd_pfn_init"];
