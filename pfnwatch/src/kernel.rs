//! What is known of a kernel: of the one that runs, or of one that lies in files.

pub mod btf;
pub mod candidate;
pub mod layout;
pub mod max_struct_page;
pub mod member;
pub mod module_file;
pub mod package;
mod unpack;
pub mod vmlinux_image;
