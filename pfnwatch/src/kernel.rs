//! Facts about a kernel.
pub mod max_struct_page;
pub mod module_file;
mod unpack;
