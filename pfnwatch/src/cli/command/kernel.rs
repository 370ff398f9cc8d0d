//! `pfnwatch kernel`: does a kernel have one of the known defects? Without booting it.

mod defects;
mod verdict;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use self::defects::{AssessedDefect, DefectRow, DefectVerdict};
use self::verdict::{AssessedKernel, KernelVerdict};
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::code::max_struct_page::MaxStructPage;
use crate::code::memmap_free::MemmapReturn;
use crate::image::KernelImages;
use crate::image::max_struct_page::RunningKernel;
use crate::image::memmap_return;
use crate::kernel::known_defects::DefectId;
use crate::kernel::max_struct_page::{Evidence, Source};
use crate::model::exit::Exit;
use crate::model::kernel::KernelFacts;
use crate::model::units::Bytes;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch kernel --running
  pfnwatch kernel linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb
  pfnwatch kernel linux-binary-*.deb linux-modules-*.deb   # one kernel in two packages
  pfnwatch kernel /lib/modules/6.12.94 --format json
  pfnwatch kernel libnvdimm.ko.xz
  pfnwatch kernel --fail-on suspected linux-image-*.deb    # a gate that takes no chances

Exit codes: 0 no kernel has a known defect by its code; 1 a path could not be read; 3 a kernel has one
(with `--fail-on suspected` also if only its release suggests it); 4 a kernel's MAX_STRUCT_PAGE_SIZE is unknown.")]
pub struct Args {
    /// A .deb, .rpm, libnvdimm.ko (plain, .gz, .xz, .zst), kernel image, /lib/modules/VERSION, or a root with kernels
    #[arg(value_name = "PATH", required_unless_present = "running")]
    files: Vec<PathBuf>,
    /// Check the running kernel: its code (as root), its module file, its release
    #[arg(long)]
    running: bool,
    /// The weakest verdict that ends with exit code 3
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t = FailOn::Regressed)]
    fail_on: FailOn,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A defect that code or an observation shows
    Regressed,
    /// Also a release that is known to have a defect
    Suspected,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let mut report = KernelReport::default();
    if args.running {
        report.kernels.push(running(paths)?);
    }
    let candidates = KernelImages::read(args.files.iter().map(PathBuf::as_path));
    report
        .kernels
        .extend(candidates.kernels.into_iter().map(|(release, kernel)| AssessedKernel::of_files(release, kernel)));
    report.failures = candidates.failures.into_iter().map(|(path, error)| (path, error.to_string())).collect();
    let text = args.format.render(&KernelDocument::from(&report), || report.table())?;
    terminal::print(&text).context("cannot write the report")?;
    Ok(exit(&report, args.fail_on))
}

fn running(paths: &Paths) -> anyhow::Result<AssessedKernel> {
    let KernelFacts { release, struct_page_size, .. } = KernelFacts::gather(paths, None)?;
    let host = RunningKernel::gather(paths, &release, Vec::new());
    Ok(AssessedKernel::of_host(release, host, struct_page_size, memmap_return::of_running(paths)))
}

/// A regressed kernel has precedence: this is a gate for rollouts.
fn exit(report: &KernelReport, fail_on: FailOn) -> Exit {
    let any = |verdict| report.kernels.iter().any(|kernel| kernel.verdict == verdict);
    let mut defects = report.kernels.iter().flat_map(|kernel| &kernel.defects);
    let fails = |verdict| match verdict {
        DefectVerdict::Regressed => true,
        DefectVerdict::Suspected => fail_on == FailOn::Suspected,
        DefectVerdict::Ok | DefectVerdict::Unknown => false,
    };
    if any(KernelVerdict::Regressed) || defects.any(|defect| fails(defect.verdict)) {
        Exit::Findings
    } else if !report.failures.is_empty() {
        Exit::Error
    } else if any(KernelVerdict::Unknown) {
        Exit::Unsupported
    } else {
        Exit::Success
    }
}

/// The kernels looked at, and the paths that gave none.
#[derive(Debug, Default)]
struct KernelReport {
    kernels: Vec<AssessedKernel>,
    failures: Vec<(String, String)>,
}

impl KernelReport {
    fn table(&self) -> String {
        let mut text = String::new();
        if !self.kernels.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header([
                "KERNEL",
                "VERDICT",
                "MAX STRUCT PAGE",
                "STRUCT PAGE",
                "LOST OF 1 TiB",
                "MEMMAP IN DRAM",
            ]);
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

fn row(kernel: &AssessedKernel) -> [String; 6] {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
    let max = kernel.max.map_or_else(|| "?".to_owned(), |max| sizes(max, kernel.override_set));
    let verdict = kernel.verdict.as_str().to_owned();
    let loss = if kernel.verdict == KernelVerdict::Refuses { "-".to_owned() } else { bytes(kernel.loss_per_tib_bytes) };
    let struct_page = bytes(kernel.struct_page_bytes);
    [kernel.release.clone(), verdict, max, struct_page, loss, memmap(kernel).to_owned()]
}

/// What becomes of a memmap in DRAM when its device is disabled.
fn memmap(kernel: &AssessedKernel) -> &'static str {
    let is_suspected = || {
        kernel
            .defects
            .iter()
            .any(|row| row.defect.id == DefectId::MemmapNotReturned && row.verdict == DefectVerdict::Suspected)
    };
    match kernel.memmap {
        Some((MemmapReturn::Returned, _)) => "returned",
        Some((MemmapReturn::NotReturned, _)) => "not returned",
        None if is_suspected() => "suspected",
        None => "?",
    }
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
    for defect in kernel.defects.iter().filter_map(AssessedDefect::line) {
        line("defect", &defect);
    }
    for problem in &kernel.problems {
        line("note", problem);
    }
    text
}

fn describe_evidence(evidence: &Evidence) -> String {
    format!("{}: {}", sizes(evidence.max, None), evidence.source)
}

/// What was asked about, and what came of it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelDocument"))]
pub(in crate::cli::command) struct KernelDocument<'a> {
    /// The kernels that were looked at.
    kernels: Vec<KernelRow<'a>>,
    /// The paths without a kernel.
    failures: Vec<FailedFile<'a>>,
}

/// A kernel with its verdict.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "JudgedKernel"))]
struct KernelRow<'a> {
    /// Its release.
    release: &'a str,
    /// Whether it reserves more than it should.
    verdict: KernelVerdict,
    /// What it reserves for each page with map=dev, in bytes; null if unknown.
    max_struct_page_bytes: Option<u64>,
    /// The same with the parameter `page_struct_override`; null if the kernel does not have it.
    overridden_struct_page_bytes: Option<u64>,
    /// Whether the parameter is set on the running kernel; null for other kernels, and if there is no such parameter.
    page_struct_override: Option<bool>,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev loses against the ideal, in bytes.
    loss_per_tib_bytes: Option<u64>,
    /// The evidence for it, the strongest first.
    evidence: Vec<EvidenceRow<'a>>,
    /// Evidence that contradicts it.
    conflicts: Vec<EvidenceRow<'a>>,
    /// What its code does with a memmap in DRAM when its device is disabled: `returned` or `not_returned`; null if the code does
    /// not show it.
    memmap_in_dram: Option<&'static str>,
    /// Each known defect of kernels, and whether this kernel has it.
    defects: Vec<DefectRow>,
    /// Evidence that could not be read, and why.
    problems: &'a [String],
}

/// One piece of evidence.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelEvidence"))]
struct EvidenceRow<'a> {
    /// `release`, `module file`, `running code` or `observed block`: the later, the stronger.
    source: &'static str,
    /// The bytes reserved for each page according to it.
    max_struct_page_bytes: u64,
    /// The same with `page_struct_override`.
    overridden_struct_page_bytes: Option<u64>,
    /// In words.
    text: String,
    /// The function whose code shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    /// Address of the instruction that stores the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_address: Option<u64>,
    /// Address of the instruction that multiplies by it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    shift_address: Option<Option<u64>>,
    /// The file that the code was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// The module's build-id, in hex; null if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<Option<&'a str>>,
}

/// A path without a kernel.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelFailure"))]
struct FailedFile<'a> {
    /// The path.
    path: &'a str,
    /// Why.
    reason: &'a str,
}

impl<'a> From<&'a KernelReport> for KernelDocument<'a> {
    fn from(report: &'a KernelReport) -> Self {
        let failure = |(path, reason): &'a (String, String)| FailedFile { path, reason };
        Self {
            kernels: report.kernels.iter().map(KernelRow::from).collect(),
            failures: report.failures.iter().map(failure).collect(),
        }
    }
}

impl<'a> From<&'a AssessedKernel> for KernelRow<'a> {
    fn from(kernel: &'a AssessedKernel) -> Self {
        let resolved = &kernel.resolved;
        Self {
            release: &kernel.release,
            verdict: kernel.verdict,
            max_struct_page_bytes: kernel.max.map(|max| max.bytes),
            overridden_struct_page_bytes: kernel.max.and_then(|max| max.overridden_bytes),
            page_struct_override: kernel.override_set,
            struct_page_bytes: kernel.struct_page_bytes,
            loss_per_tib_bytes: kernel.loss_per_tib_bytes,
            evidence: resolved.best.iter().chain(&resolved.agreeing).map(EvidenceRow::from).collect(),
            conflicts: resolved.conflicting.iter().map(EvidenceRow::from).collect(),
            memmap_in_dram: kernel.memmap.map(|(found, _)| match found {
                MemmapReturn::Returned => "returned",
                MemmapReturn::NotReturned => "not_returned",
            }),
            defects: kernel.defects.iter().map(DefectRow::from).collect(),
            problems: &kernel.problems,
        }
    }
}

impl<'a> From<&'a Evidence> for EvidenceRow<'a> {
    fn from(evidence: &'a Evidence) -> Self {
        let function = match &evidence.source {
            Source::ModuleFile { function, .. } | Source::RunningCode { function, .. } => Some(&**function),
            Source::Release { .. } | Source::ObservedBlock { .. } => None,
        };
        let (file, build_id) = match &evidence.source {
            Source::ModuleFile { file, build_id, .. } => (Some(&**file), Some(build_id.as_deref())),
            _ => (None, None),
        };
        let at = evidence.source.addresses();
        Self {
            source: evidence.source.strength().as_str(),
            max_struct_page_bytes: evidence.max.bytes,
            overridden_struct_page_bytes: evidence.max.overridden_bytes,
            text: evidence.source.to_string(),
            function,
            store_address: at.map(|at| at.store),
            shift_address: at.map(|at| at.shift),
            file,
            build_id,
        }
    }
}
