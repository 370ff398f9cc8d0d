//! The plan, for people and (by its fields) for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::PlanContext;
use super::commands::CHECKS;
use super::step::PlanStep;
use crate::model::units::Bytes;

/// All steps, in their order.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Plan {
    /// The version of this document.
    schema: u32,
    /// What the running kernel reserves for each page.
    max_struct_page_size_bytes: Option<u64>,
    /// The evidence for what the running kernel reserves, in words.
    evidence: String,
    /// What all rebuilds together return under a kernel without the regression.
    excess_bytes: u64,
    /// Shell functions that the commands call: without them every command stops.
    checks: &'static str,
    /// A step for each namespace that is worth it.
    pub(super) steps: Vec<PlanStep>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            schema: 1,
            max_struct_page_size_bytes: None,
            evidence: String::new(),
            excess_bytes: 0,
            checks: "",
            steps: Vec::new(),
        }
    }
}

impl Plan {
    pub(super) fn new(context: &PlanContext<'_>, steps: Vec<PlanStep>) -> Self {
        Self {
            max_struct_page_size_bytes: context.page_cost.bytes,
            evidence: context.page_cost.evidence.clone(),
            excess_bytes: steps.iter().fold(0, |sum, step| sum.saturating_add(step.excess_bytes)),
            checks: CHECKS,
            steps,
            ..Self::default()
        }
    }

    /// For people. Writing to a string does not fail.
    pub(super) fn text(&self) -> String {
        if self.steps.is_empty() {
            return "Nothing is oversize: there is nothing to rebuild.\n".to_owned();
        }
        let bytes = self.max_struct_page_size_bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes} bytes"));
        let mut text = format!(
            "{} to rebuild, {} to get back. What is not in use comes first, then the largest gain.\n\
             This kernel reserves for each page: {bytes} ({})\n\
             Nothing is run: these commands are for root's shell, and every rebuild destroys what is in the namespace.\n\
             Paste the checks at the end first: without them every block of commands stops.\n",
            self.steps.len(),
            Bytes(self.excess_bytes),
            self.evidence
        );
        for (number, step) in (1..).zip(&self.steps) {
            one(&mut text, number, step);
        }
        let _ = write!(text, "\n{CHECKS}");
        text
    }
}

fn one(text: &mut String, number: u32, step: &PlanStep) {
    let _ = writeln!(
        text,
        "\n{number}. {} ({}, map={}, {}): {} usable now, {} to get back\n   Cause: {}",
        step.namespace,
        step.mode,
        step.map,
        Bytes(step.size_bytes),
        Bytes(step.usable_bytes),
        Bytes(step.excess_bytes),
        step.cause
    );
    if let Some(gain) = step.gain_on_this_kernel_bytes.filter(|gain| *gain < step.excess_bytes) {
        let _ = writeln!(text, "   Rebuilt under this kernel with the same map it would return {}.", Bytes(gain));
    }
    for user in &step.users {
        let _ = writeln!(text, "   In use: {}. To end that: {}", user.user, user.command);
    }
    for warning in &step.warnings {
        let _ = writeln!(text, "   Warning: {warning}");
    }
    let several = step.ways.len() > 1;
    for (letter, way) in ('a'..).zip(&step.ways) {
        let lead = if several { format!("{letter}) ") } else { String::new() };
        let usable = way.usable_bytes.map_or(String::new(), |bytes| format!(" -> {} usable", Bytes(bytes)));
        let _ = writeln!(text, "   {lead}{}{usable}", way.title);
        for command in &way.commands {
            let _ = writeln!(text, "        {command}");
        }
    }
}
