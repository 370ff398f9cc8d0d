//! `pfnwatch plan`: how to get back what is lost. It prints commands, and never runs one.

mod commands;
pub(super) mod report;
mod script;
mod step;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::config::ConfigArgs;
use crate::model::exit::{Exit, ExitContext};
use crate::model::facts::KernelParameters;
use crate::model::kernel::COMPAT_ALIGN;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::thresholds::Thresholds;
use crate::model::verdict::{Cause, Verdict};
use crate::os::control_socket::DEFAULT_PATH;
use crate::os::paths::Paths;
use crate::scan::EnabledBlocks;
use crate::sysfs::inventory::SysfsRoots;
use crate::sysfs::inventory::usage::Usage;

use self::report::Plan;
use self::step::PlanStep;
use super::predict::{PageCost, page_cost, parameters};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch plan                   what each rebuild returns, in which order, and the commands
  sudo pfnwatch plan namespace0.0      the same for one namespace
  pfnwatch plan --max-struct-page 64   as under a kernel without the regression
  sudo pfnwatch plan --script plan.sh  the same as a script; `sh plan.sh` only checks

pfnwatch never runs these commands: every rebuild destroys what is in the namespace. Each block begins with checks, and \
stops if the namespace is another one by now, or if something uses it.

Exit codes: 0 nothing to do; 1 error; 2 wrong usage; 3 there is something to rebuild.")]
pub struct Args {
    /// Only these namespaces
    #[arg(value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Compute with BYTES reserved for each page, instead of the running kernel's
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_struct_page: Option<u64>,
    /// Also write the plan into a new file, as a script for root; it rebuilds each namespace with its present map
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How to write the plan
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

struct PlanContext<'a> {
    host: KernelParameters,
    page_cost: &'a PageCost,
    thresholds: Thresholds,
    usage: Usage,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let thresholds = args.config.read()?.thresholds();
    let scan = ScanResult::run(paths, EnabledBlocks::AskAgent(DEFAULT_PATH.into()), Vec::new, &thresholds)?;
    let chosen = choose(&scan, &args.namespaces)?;
    let plan = if chosen.is_empty() { Plan::default() } else { plan(args, paths, &scan, &chosen, thresholds) };
    if let Some(file) = args.script.as_ref().filter(|_| !plan.steps.is_empty()) {
        script::write(&plan, file, &scan.kernel.release)?;
    }
    terminal::print(&match args.format {
        Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        _ => plan.text(),
    })?;
    Ok(if plan.steps.is_empty() { Exit::Success } else { Exit::Findings })
}

fn plan(args: &Args, paths: &Paths, scan: &ScanResult, chosen: &[&AssessedNamespace], thresholds: Thresholds) -> Plan {
    let page_cost = page_cost(args.max_struct_page, paths, &scan.kernel);
    let host = parameters(&page_cost, paths, &scan.kernel);
    let usage = Usage::gather(&SysfsRoots::from(paths));
    let context = PlanContext { host, page_cost: &page_cost, thresholds, usage };
    build(&context, scan, chosen)
}

fn build(context: &PlanContext<'_>, scan: &ScanResult, chosen: &[&AssessedNamespace]) -> Plan {
    let mut steps: Vec<PlanStep> = chosen
        .iter()
        .filter_map(|judged| {
            let region = scan.regions.iter().find(|region| region.name == judged.namespace.region);
            PlanStep::of(judged, region, context)
        })
        .collect();
    // What nobody uses can be done at once; among these, the largest gain first.
    steps.sort_by_key(|step| (step.in_use, std::cmp::Reverse(step.excess_bytes)));
    Plan::new(context, steps)
}

/// The oversize namespaces, and those of which an older kernel has cut off a part; if only the sum is oversize, all that contribute to
/// it.
fn choose<'a>(scan: &'a ScanResult, named: &[String]) -> anyhow::Result<Vec<&'a AssessedNamespace>> {
    if let Some(missing) =
        named.iter().find(|name| scan.namespaces.iter().all(|judged| judged.namespace.name != **name))
    {
        bail!(ExitContext::usage(format!("there is no {missing}: `pfnwatch scan` lists the namespaces")));
    }
    let together = scan.totals.oversize == 0 && scan.verdict == Verdict::Oversize;
    let worth = |judged: &&AssessedNamespace| {
        let assessment = &judged.assessment;
        let contributes = together && assessment.numbers.excess.unwrap_or(0) > 0;
        assessment.verdict == Verdict::Oversize || contributes || is_cut_off(judged)
    };
    let is_named = |judged: &&AssessedNamespace| named.is_empty() || named.contains(&judged.namespace.name);
    Ok(scan.namespaces.iter().filter(worth).filter(is_named).collect())
}

/// Whether an older kernel has cut off more at the end than today's do, which is less than an align.
fn is_cut_off(judged: &AssessedNamespace) -> bool {
    let align = judged.facts.align.unwrap_or(0).max(COMPAT_ALIGN);
    let cut = judged.assessment.numbers.end_trunc;
    judged.assessment.cause == Cause::OlderKernel && cut.is_some_and(|cut| cut >= align)
}
