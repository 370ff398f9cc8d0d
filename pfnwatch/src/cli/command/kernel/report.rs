//! The report of `pfnwatch kernel`: for people, and for programs.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::verdict::{AssessedKernel, KernelVerdict};
use crate::code::max_struct_page::MaxStructPage;
use crate::kernel::max_struct_page::Evidence;
use crate::model::units::Bytes;

/// The kernels looked at, and the paths that gave none.
#[derive(Debug, Default)]
pub(super) struct KernelReport {
    pub(super) kernels: Vec<AssessedKernel>,
    pub(super) failures: Vec<(String, String)>,
}

impl KernelReport {
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        if !self.kernels.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(["KERNEL", "VERDICT", "MAX STRUCT PAGE", "STRUCT PAGE", "LOST OF 1 TiB"]);
            table.add_rows(self.kernels.iter().map(row));
            text = format!("{table}\n");
        }
        for kernel in &self.kernels {
            text += &details(kernel);
        }
        for (path, reason) in &self.failures {
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}{path}: {reason}\n");
        }
        text
    }
}

fn row(kernel: &AssessedKernel) -> [String; 5] {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
    let max = kernel.max.map_or_else(|| "?".to_owned(), |max| sizes(max, kernel.override_set));
    let verdict = kernel.verdict.as_str().to_owned();
    let loss = if kernel.verdict == KernelVerdict::Refuses { "-".to_owned() } else { bytes(kernel.loss_per_tib_bytes) };
    [kernel.release.clone(), verdict, max, bytes(kernel.struct_page_bytes), loss]
}

/// `64 B`, or `32 B (64 B with page_struct_override)`.
fn sizes(max: MaxStructPage, override_set: Option<bool>) -> String {
    let set = if override_set == Some(true) { ", which is set" } else { "" };
    match max.overridden_bytes {
        None => Bytes(max.bytes).to_string(),
        Some(size) => format!("{} ({} with page_struct_override{set})", Bytes(max.bytes), Bytes(size)),
    }
}

fn details(kernel: &AssessedKernel) -> String {
    let mut text = format!("\n{}\n", kernel.release);
    let mut line = |title: &str, what: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {title:<9} {what}");
    };
    for evidence in kernel.resolved.best.iter().chain(&kernel.resolved.agreeing) {
        line("evidence", &describe_evidence(evidence));
    }
    for evidence in &kernel.resolved.conflicting {
        line("conflict", &describe_evidence(evidence));
    }
    for problem in &kernel.problems {
        line("note", problem);
    }
    text
}

fn describe_evidence(evidence: &Evidence) -> String {
    format!("{}: {}", sizes(evidence.max, None), evidence.source)
}
