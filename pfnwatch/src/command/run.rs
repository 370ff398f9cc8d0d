//! `pfnwatch run`: the agent.

use std::{io, path::PathBuf};

use anyhow::Context as _;

use crate::{
    config::ConfigArgs,
    exit::{Because, Exit},
    kernel::{
        KernelFacts,
        features::{Features, Host},
        prerequisites::{NeededFor, judge, lacking},
        target::Libnvdimm,
    },
    observation::Options,
    paths::Paths,
    pipeline::Pipeline,
    sinks::log::{Format, Log},
    units::parse_size,
};

/// Options of `pfnwatch run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch run                   watch, one line for each event
  pfnwatch run --format json     the same as JSON lines, for programs

It needs root. Where libnvdimm is not loaded it waits for it.
Exit codes: 0 ended by SIGTERM or SIGINT, 1 error, 2 wrong usage, 4 this host cannot be observed.")]
pub struct Args {
    /// How events are written to standard output
    #[arg(long, value_enum, default_value_t = Format::Line)]
    format: Format,
    /// Take BTF from DIR/vmlinux and DIR/libnvdimm, for a kernel that ships none
    #[arg(long, value_name = "DIR")]
    btf_dir: Option<PathBuf>,
    /// Size of the ring buffer: a power of two, 4KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = ring_size)]
    ring_size: u32,
    /// Let the eBPF programs write debug messages to the log (see RUST_LOG)
    #[arg(long)]
    debug_ebpf: bool,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

fn ring_size(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_power_of_two() && (4096..=16 << 20).contains(bytes))
        .ok_or_else(|| format!("`{text}` is no size for a ring buffer: take a power of two from 4KiB to 16MiB"))
}

/// Ends early, and with the remedy, where no waiting would help.
fn refuse_where_blind(args: &Args, paths: &Paths) -> anyhow::Result<()> {
    // Where libnvdimm is there, the attachment itself is the test, and it should not wait for any other.
    if Libnvdimm::look(paths) != Libnvdimm::NotLoaded {
        return Ok(());
    }
    let rows = judge(&Features::gather(&Host::new(paths), args.btf_dir.as_deref()));
    let missing: Vec<_> = lacking(&rows, NeededFor::Observe).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Because::unsupported(format!("this host cannot be observed: {}", missing.join("; "))).into())
}

/// Runs the agent until it is asked to end.
///
/// # Errors
/// This host cannot be observed (exit code 4), or something failed that the agent cannot do without.
pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let thresholds = args.config.read()?.thresholds();
    refuse_where_blind(args, paths)?;
    let facts = KernelFacts::gather(paths, args.btf_dir.as_deref())?;
    let options = Options {
        paths: paths.clone(),
        btf_dir: args.btf_dir.clone(),
        ring_bytes: args.ring_size,
        debug: args.debug_ebpf,
        thresholds,
    };
    let log = Log::new(args.format, io::stdout().lock());
    // One thread is enough: the kernel does the work, and an idle agent should cost nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("the tokio runtime cannot be started")?;
    runtime.block_on(Pipeline::new(options, facts, log).run())?;
    Ok(Exit::Fine)
}
