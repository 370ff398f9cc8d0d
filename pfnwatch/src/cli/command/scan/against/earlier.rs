//! The report of another day or host, as far as it is compared.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::model::event::SCHEMA;
use crate::model::exit::ExitContext;

#[derive(Debug, Deserialize)]
pub(super) struct EarlierReport {
    schema: u32,
    pub(super) time: Option<String>,
    pub(super) kernel: EarlierKernel,
    pub(super) totals: EarlierTotals,
    pub(super) namespaces: Vec<EarlierNamespace>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EarlierKernel {
    pub(super) release: String,
    pub(super) struct_page_size_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EarlierTotals {
    pub(super) reservation_bytes: u64,
    pub(super) excess_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct EarlierNamespace {
    pub(super) namespace: String,
    pub(super) namespace_uuid: Option<String>,
    pub(super) start_address: Option<u64>,
    #[serde(flatten)]
    pub(super) costs: Costs,
}

/// What it cost, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ComparedCosts"))]
pub(super) struct Costs {
    /// `fsdax`, `devdax`, `sector` or `raw`.
    pub(super) mode: String,
    /// Where the memmap lives: `dev` or `mem`.
    pub(super) map: Option<String>,
    /// Its size in bytes.
    pub(super) size_bytes: Option<u64>,
    /// What users can store in.
    pub(super) usable_bytes: Option<u64>,
    /// From its start to its first usable byte.
    pub(super) reservation_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    pub(super) excess_bytes: Option<u64>,
    /// `ok`, `oversize`, `refused` or `unknown`.
    pub(super) verdict: String,
}

impl EarlierReport {
    /// # Errors
    /// The file cannot be read, or is no such report: exit code 2.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
        Self::parse(&text).with_context(|| {
            ExitContext::usage(format!("{shown} is no report that `pfnwatch scan --format json` has written"))
        })
    }

    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let earlier: Self = serde_json::from_str(text)?;
        anyhow::ensure!(
            earlier.schema == SCHEMA,
            "its schema is {}, and this pfnwatch reads schema {SCHEMA}: take the version that wrote it",
            earlier.schema
        );
        Ok(earlier)
    }
}
