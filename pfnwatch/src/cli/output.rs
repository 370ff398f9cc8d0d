//! What people read: tables, bars, colours, and JSON documents.

pub mod bar;
pub mod json;
#[cfg(test)]
pub(crate) mod screens;
pub mod table;
pub mod terminal;
