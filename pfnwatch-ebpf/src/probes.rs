//! The programs, by what they watch.

mod bind;
mod lifecycle;
mod setup_pfn;
