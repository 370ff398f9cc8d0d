//! How a report is written.

use clap::ValueEnum;
use serde::Serialize;

use crate::model::event::SCHEMA;

/// How a report is written, where there is no more to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and bars for people
    Table,
    /// One JSON document with a schema, for programs
    Json,
}

impl Format {
    /// The report for programs or for people.
    pub fn render(self, report: &impl Serialize, table: impl FnOnce() -> String) -> serde_json::Result<String> {
        match self {
            Self::Table => Ok(table()),
            Self::Json => document(report),
        }
    }
}

// Without a doc comment: the schema of the whole uses the description of the content.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document<'a, T> {
    /// The version of this document.
    schema: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// A JSON document that begins with its schema and ends with a newline.
pub fn document(content: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&Document { schema: SCHEMA, content })? + "\n")
}
