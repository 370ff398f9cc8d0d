//! What people read: tables, bars, colours, and JSON documents.

pub mod bar;
pub mod json;
pub mod table;
pub mod terminal;
