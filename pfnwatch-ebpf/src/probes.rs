//! The programs, by what they watch.

mod attribute;
mod bind;
mod lifecycle;
mod setup_pfn;
