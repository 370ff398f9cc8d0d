//! `pfnwatch run`: the agent.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use std::{io, thread};

use anyhow::Context as _;

use crate::agent::sensor::HostSensor;
use crate::agent::{Agent, Options};
use crate::bpf::attach::probe_features;
use crate::cli::socket_args::SocketArgs;
use crate::cli::store_args::StoreArgs;
use crate::config::{ConfigArgs, Loaded};
use crate::export::event_log::{Log, LogFormat, LogTarget};
use crate::export::lossy_writer::LossyWriter;
use crate::kernel::features::{self, FeatureSources, Features};
use crate::kernel::libnvdimm::{self, Libnvdimm};
use crate::kernel::prerequisites::{Availability, NeededFor, Prerequisite, judge, lockdown, unmet};
use crate::model::exit::{Exit, ExitContext};
use crate::model::kernel::KernelFacts;
use crate::model::policy::Mode;
use crate::model::redact::redact_quotes;
use crate::model::units::parse_size;
use crate::os::clock::SystemClock;
use crate::os::paths::Paths;
use crate::os::privileges::with_capabilities;
use crate::os::signals::Signals;
use crate::store::EventStore;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch run                   print one line for each event
  pfnwatch run --format json     the same as JSON lines, for programs

It needs root. If libnvdimm is not loaded, it waits until it is.
Exit codes: 0 ended by SIGTERM or SIGINT; 1 error; 2 wrong usage; 4 this host cannot be observed.")]
pub struct Args {
    /// Format of the events on standard output
    #[arg(long, value_enum, default_value_t = LogFormat::Line)]
    format: LogFormat,
    /// Where to write events: as a systemd service, to journald with fields
    #[arg(long, value_enum, default_value_t = LogTarget::Auto)]
    log: LogTarget,
    /// Take BTF from DIR/vmlinux and DIR/libnvdimm, for a kernel that ships none
    #[arg(long, value_name = "DIR")]
    btf_dir: Option<PathBuf>,
    /// Size of the ring buffer: a power of two, 4KiB to 16MiB
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = ring_size)]
    ring_size: u32,
    /// Let the eBPF programs write debug messages to the log (see RUST_LOG)
    #[arg(long)]
    debug_ebpf: bool,
    /// How often to test that the guard runs: 1s to 1day
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = parse_self_test_interval)]
    prove_every: Duration,
    /// Size of the guard's table of info blocks: one entry for each namespace
    #[arg(long, value_name = "NUMBER", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    known_blocks: u32,
    /// Attach the guard twice, as on a kernel that may skip a program (up to Linux 6.1.53): for tests
    #[arg(long, hide = true)]
    guard_twice: bool,
    /// Where the agent listens for other commands
    #[command(flatten)]
    control: SocketArgs,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

fn ring_size(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_power_of_two() && (4096..=16 << 20).contains(bytes))
        .ok_or_else(|| format!("`{text}` is not a size for a ring buffer: use a power of two from 4KiB to 16MiB"))
}

fn parse_self_test_interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("`{text}`: {error}"))?;
    let sensible = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    if sensible.contains(&time) { Ok(time) } else { Err(format!("`{text}`: use 1s to 1day")) }
}

/// Ends early, with the remedy, if waiting would not help.
fn require_observable(args: &Args, paths: &Paths, mode: Mode) -> anyhow::Result<()> {
    // The kernel would refuse the programs with words that name something else.
    let lockdown = lockdown(features::lockdown(&paths.sysfs).as_deref());
    if lockdown.answer == Availability::No {
        return Err(ExitContext::unsupported(format!("this host cannot be observed: {lockdown}")).into());
    }
    // Where libnvdimm is there, the attachment itself is the test, and it should not wait for any other.
    if Libnvdimm::detect(paths) != Libnvdimm::NotLoaded {
        return Ok(());
    }
    let rows = judge(&Features::gather(&FeatureSources::new(paths), args.btf_dir.as_deref()));
    let missing = |purpose| unmet(&rows, purpose).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let (blind, ineffective) = (missing(NeededFor::Observe), missing(NeededFor::Enforce));
    if !blind.is_empty() {
        return Err(ExitContext::unsupported(format!("this host cannot be observed: {blind}")).into());
    }
    if mode == Mode::Enforce && !ineffective.is_empty() {
        return Err(ExitContext::unsupported(format!("this host cannot enforce: {ineffective}")).into());
    }
    Ok(())
}

/// What the host lacks, one by one as `doctor` lists it, instead of the first error that the kernel gave.
fn with_prerequisites(error: anyhow::Error, rows: &[Prerequisite]) -> anyhow::Error {
    let missing: Vec<_> = unmet(rows, NeededFor::Observe).map(ToString::to_string).collect();
    if missing.is_empty() {
        return error;
    }
    let missing = missing.join("; ");
    ExitContext::unsupported(format!("this host cannot be observed: {missing}; `pfnwatch doctor` lists all of it"))
        .into()
}

/// The agent's output has more readers than its configuration, which may hold secrets.
fn with_redacted_quotes(error: anyhow::Error) -> anyhow::Error {
    match Exit::from_error(&error) {
        Exit::Usage => {
            let said = redact_quotes(&format!("{error:#}"));
            ExitContext::usage(format!("{said} (`pfnwatch policy check` quotes the line)")).into()
        }
        _ => error,
    }
}

/// Runs the agent until it is asked to end.
///
/// # Errors
/// This host cannot be observed (exit code 4), or a fatal error of the agent.
pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let Loaded { config, hash, files } = args.config.load().map_err(with_redacted_quotes)?;
    let policy = config.policy();
    require_observable(args, paths, policy.mode)?;
    // Read once, for the facts and for the first attachment, and then freed.
    let (types, facts) = thread::scope(|scope| {
        // Where no thread can be had, it is found out later.
        let _ = thread::Builder::new().spawn_scoped(scope, probe_features);
        let types = libnvdimm::open_types(paths, args.btf_dir.as_deref()).ok();
        KernelFacts::of(paths, types.as_ref()).map(|facts| (types, facts))
    })?;
    let options = Options {
        paths: paths.clone(),
        btf_dir: args.btf_dir.clone(),
        ring_bytes: args.ring_size,
        debug: args.debug_ebpf,
        config: args.config.clone(),
        config_hash: hash,
        config_files: files,
        web: config.web().clone(),
        control_socket: args.control.path.clone(),
        self_test_interval: args.prove_every,
        known_blocks: args.known_blocks,
        guard_twice: args.guard_twice,
        require_effective: config.requires_effective(),
        alerts: config.alerts(),
    };
    let store = EventStore::open(args.store.settings(&config), crate::export::line::of);
    let log =
        Log::new(args.format, LossyWriter::new(io::stdout())).select(args.log).context("journald is not there")?;
    // One thread is enough: the kernel does the work, and an idle agent should cost nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("the tokio runtime cannot be started")?;
    let ended = runtime.block_on(async {
        let signals = Signals::of_process().context("signals cannot be listened to")?;
        let (sensor, clock) = (HostSensor::open(&options, types)?, SystemClock::new()?);
        let agent = Agent::new(options, policy, facts, store, log, Box::new(sensor), Rc::new(clock));
        agent.run(signals).await
    });
    match ended {
        Err(error) if Exit::from_error(&error) == Exit::Unsupported => {
            let features = || Features::gather(&FeatureSources::new(paths), args.btf_dir.as_deref());
            Err(with_prerequisites(error, &judge(&with_capabilities(features))))
        }
        ended => ended.map(|()| Exit::Success),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_cannot_be_observed_lists_what_it_lacks() {
        let row = |name, answer| Prerequisite {
            name,
            answer,
            seen: "not there".to_owned(),
            needed_for: NeededFor::Observe,
            remedy: None,
        };
        let error = || anyhow::Error::from(ExitContext::unsupported("the kernel's first error"));
        let rows =
            [row("kprobes", Availability::No), row("lockdown", Availability::Yes), row("functions", Availability::No)];
        let listed = with_prerequisites(error(), &rows);
        assert_eq!(
            listed.to_string(),
            "this host cannot be observed: kprobes: not there; functions: not there; `pfnwatch doctor` lists all of it"
        );
        assert_eq!(Exit::from_error(&listed), Exit::Unsupported);
        let kept = with_prerequisites(error(), &[row("kprobes", Availability::Yes)]);
        assert_eq!(kept.to_string(), "the kernel's first error", "what doctor does not find");
    }
}
