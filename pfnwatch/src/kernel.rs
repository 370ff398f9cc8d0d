//! What is known of the kernel that runs.

pub mod btf;
pub mod layout;
pub mod member;
