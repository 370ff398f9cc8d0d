//! The programs, by what they watch.

mod attribute;
mod bind;
mod lifecycle;
mod memmap;
mod module;
mod setup_pfn;
mod uuid;
