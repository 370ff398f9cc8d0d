//! How a report is written.

use clap::ValueEnum;
use serde::Serialize;

use crate::event::SCHEMA;

/// How a report is written, where there is no more to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and bars for people
    Table,
    /// One JSON document with a schema, for programs
    Json,
}

/// A JSON document with its schema in front, for programs; it ends with a line.
///
/// # Errors
/// The content cannot be written as JSON.
pub fn document(content: &impl Serialize) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: u32,
        #[serde(flatten)]
        content: &'a T,
    }
    Ok(serde_json::to_string_pretty(&Document { schema: SCHEMA, content })? + "\n")
}
