//! `pfnwatch kernel`: does a kernel carry the regression? Without booting it.

pub(super) mod document;
mod report;
mod verdict;

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::output::json::{Format, document};
use crate::image::KernelImages;
use crate::image::max_struct_page::RunningKernel;
use crate::model::exit::Exit;
use crate::model::kernel::KernelFacts;
use crate::os::paths::Paths;

use self::document::KernelDocument;
use self::report::KernelReport;
use self::verdict::{AssessedKernel, KernelVerdict};

/// Options of `pfnwatch kernel`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch kernel --running
  pfnwatch kernel linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb
  pfnwatch kernel linux-binary-*.deb linux-modules-*.deb   # one kernel in two packages
  pfnwatch kernel /lib/modules/6.12.94 --format json
  pfnwatch kernel libnvdimm.ko.xz

Exit codes: 0 no kernel is regressed; 1 a path could not be read; 3 a kernel is regressed;
4 a kernel does not say.")]
pub struct Args {
    /// A .deb, .rpm, libnvdimm.ko (plain, .gz, .xz, .zst), kernel image, /lib/modules/VERSION, or a root with kernels
    #[arg(value_name = "PATH", required_unless_present = "running")]
    files: Vec<PathBuf>,
    /// Ask the kernel that runs: its code (as root), its module file, its release
    #[arg(long)]
    running: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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
    let text = match args.format {
        Format::Table => report.table(),
        Format::Json => document(&KernelDocument::from(&report))?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    Ok(exit(&report))
}

fn running(paths: &Paths) -> anyhow::Result<AssessedKernel> {
    let KernelFacts { release, struct_page_size, .. } = KernelFacts::gather(paths, None)?;
    let host = RunningKernel::gather(paths, &release, Vec::new());
    Ok(AssessedKernel::of_host(release, host, struct_page_size))
}

/// A regressed kernel has precedence: this is a gate for rollouts.
fn exit(report: &KernelReport) -> Exit {
    let any = |verdict| report.kernels.iter().any(|kernel| kernel.verdict == verdict);
    if any(KernelVerdict::Regressed) {
        Exit::Findings
    } else if !report.failures.is_empty() {
        Exit::Error
    } else if any(KernelVerdict::Unknown) {
        Exit::Unsupported
    } else {
        Exit::Success
    }
}
