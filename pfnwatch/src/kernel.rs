//! Facts about a kernel.
pub mod max_struct_page;
