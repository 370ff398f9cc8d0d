//! What is generated from the code, and checked in: the JSON schemas, and the pages of docs/reference.
//!
//! It is part of the tests alone, so that nothing of what makes it is in the binary: `cargo xtask docs --reference --update` runs them with
//! [`WRITE`] set, and they write the files; without, they fail where a file is not what the code gives.

mod alerts;
mod bundle;
mod events;
mod exit_codes;
mod fields;
mod metrics;
#[cfg(test)]
mod report_tests;
mod reports;
#[cfg(test)]
mod tests;
pub(crate) mod types;

use std::path::Path;
use std::{env, fs};

const WRITE: &str = "PFNWATCH_WRITE_REFERENCE";

type Made = (&'static str, fn() -> String);

const FILES: [Made; 6] = [
    ("pfnwatch/dist/schema.json", bundle::text),
    ("docs/reference/alerts.md", alerts::page),
    ("docs/reference/events.md", events::page),
    ("docs/reference/exit-codes.md", exit_codes::page),
    ("docs/reference/metrics.md", metrics::page),
    ("docs/reference/reports.md", reports::page),
];

#[test]
fn files_are_what_the_code_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (path, make) in FILES {
        let (file, text) = (root.join(path), make());
        if env::var_os(WRITE).is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
        } else {
            let there = fs::read_to_string(&file).unwrap_or_default();
            assert!(
                there == text,
                "{path} is not what the code gives: `cargo xtask docs --reference --update` rewrites it"
            );
        }
    }
}
