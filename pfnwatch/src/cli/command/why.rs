//! `pfnwatch why`: why a creation or an enable failed, and the next command.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::mode;
use crate::analysis::why::event_failure::{self, Recorded, of_event};
use crate::analysis::why::host::{History, Subject, explain};
use crate::analysis::why::kernel_message::{KernelMessage, LoggedMessage};
use crate::analysis::why::log_failure::of_log;
use crate::analysis::why::ndctl_message;
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::model::exit::Exit;
use crate::model::info_block::SavedInfoBlock;
use crate::model::inventory::{InfoBlocks, Inventory, Namespace};
use crate::model::kernel::KernelFacts;
use crate::model::scan_result::ScanResult;
use crate::model::why::{FailureCause, FailureEvidence, Finding};
use crate::os::control_client;
use crate::os::kernel_log::{KMSG, KernelLog, boot_time};
use crate::os::paths::Paths;
use crate::store::{EventFilter, Reader};
use crate::sysfs::inventory::SysfsRoots;

/// So many of the last events are looked through.
const MAX_EVENTS: u32 = 1000;
/// So much of a message is read.
const MAX_MESSAGE_BYTES: u64 = 64 << 10;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch why                      what failed in this boot and is not enabled since, what is disabled, what is oversize
  sudo pfnwatch why namespace0.1         one namespace: also why its usable size is less than its size
  sudo pfnwatch why pfn0.0               the pfn or dax device that ndctl names in `failed to enable`
  sudo ndctl create-namespace -m fsdax -s 1G 2>&1 | pfnwatch why --message -
                                         what a message of ndctl or of the kernel means
  pfnwatch why --kernel-log dmesg.txt    a log that was saved

It reads the kernel's log of this boot, the event store, the info blocks that the agent saved, the agent's mode, and sysfs. It changes no \
namespace.

Exit codes: 0 nothing is wrong, or nothing known; 1 error; 2 wrong usage; 3 a cause was found; 4 the kernel's log cannot be read, \
and nothing else has a cause.")]
pub struct Args {
    /// A namespace (its name, its namespace uuid), its pfn, dax or btt device, its region, or /dev/pmem0
    #[arg(value_name = "NAMESPACE|DEVICE")]
    which: Option<String>,
    /// A message of ndctl or of the kernel; - reads it from standard input
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Take the kernel's messages from FILE, as dmesg or journalctl -k prints them, instead of from this host; - for standard input
    #[arg(long, value_name = "FILE")]
    kernel_log: Option<PathBuf>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

/// The answers, and what could not be looked at.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct WhyReport {
    /// The answers; the oldest first within each kind of evidence.
    findings: Vec<Finding>,
    /// Why the kernel's messages were not read; null if they were.
    kernel_log_problem: Option<String>,
    /// Whether older messages of this boot are gone.
    kernel_log_truncated: bool,
    /// Why the event store was not read; null if it was.
    event_store_problem: Option<String>,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let mut report = WhyReport::default();
    let is_answered = match &args.message {
        Some(text) => add_message(&mut report, &message(text)?)?,
        None => false,
    };
    if !is_answered {
        add_host(&mut report, args, paths)?;
    }
    terminal::print(&args.format.render(&report, || report.text())?)?;
    Ok(report.exit())
}

fn message(text: &str) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes).context("standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds what a message means; whether that is an answer, so that the host need not be asked.
fn add_message(report: &mut WhyReport, text: &str) -> anyhow::Result<bool> {
    let log = KernelLog::saved(text.as_bytes(), |line| LoggedMessage::parse(line).is_some())?;
    let mut found = of_log(&log.records, None);
    let bare = text.lines().find_map(|line| KernelMessage::parse(line.trim()));
    let ndctl = ndctl_message::answer(text);
    let is_answered = !found.is_empty() || bare.is_some() || ndctl.as_ref().is_some_and(|it| !it.is_general);
    if found.is_empty() {
        let answer = bare.map(|message| message.general_answer()).or_else(|| ndctl.map(|ndctl| ndctl.answer));
        let Some(answer) = answer else {
            bail!("neither a message of ndctl nor of the kernel that pfnwatch knows: sudo pfnwatch why reads this host")
        };
        let quote = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        let evidence = FailureEvidence::Message;
        found.push(Finding { namespace: None, device: None, evidence, time: None, quote, answer });
    }
    found.iter_mut().for_each(|finding| finding.evidence = FailureEvidence::Message);
    report.findings = found;
    Ok(is_answered)
}

fn add_host(report: &mut WhyReport, args: &Args, paths: &Paths) -> anyhow::Result<()> {
    let boot = boot_time(SystemTime::now());
    let mut history = History::default();
    match kernel_log(args.kernel_log.as_deref(), paths) {
        Ok(log) => {
            report.kernel_log_truncated = log.truncated;
            // A saved log may be of another boot.
            history.failures = of_log(&log.records, boot.filter(|_| args.kernel_log.is_none()));
        }
        Err(error) => report.kernel_log_problem = Some(format!("{error:#}")),
    }
    let config = args.config.read()?;
    let inventory = Inventory::read(&SysfsRoots::from(paths))?;
    let mut blocks = InfoBlocks::default();
    let stored = args.store.file_in(&config).and_then(|file| Ok(Reader::open(&file)?));
    // Without a subject only this boot counts: a kernel that was replaced is not of interest.
    let since = boot.filter(|_| args.which.is_none());
    if let Err(error) = stored.and_then(|reader| add_store(&reader, since, &inventory, &mut blocks, &mut history)) {
        report.event_store_problem = Some(format!("{error:#}"));
    }
    let scan = ScanResult::assess(inventory, &blocks, KernelFacts::gather(paths, None)?, &config.thresholds());
    let subject = args.which.as_deref().map(|which| Subject::of(which, &scan));
    if let Some((subject, which)) = subject.as_ref().zip(args.which.as_deref())
        && !subject.is_known(&scan, &history.failures)
    {
        bail!("{which} is not a namespace, device or region of this host, and no known failure concerns it");
    }
    report.findings.extend(explain(&scan, history, subject.as_ref()));
    add_policy(report, &args.socket.path);
    Ok(())
}

/// Adds the agent's mode to a refused bind: another security module may have refused it.
fn add_policy(report: &mut WhyReport, socket: &Path) {
    let mut refused =
        report.findings.iter_mut().filter(|finding| finding.answer.cause == FailureCause::BindRefused).peekable();
    if refused.peek().is_some() {
        let mode = control_client::status(socket).map(|status| mode::sentence(&status.mode));
        let mode = mode.unwrap_or_else(|_| "unknown, since no agent answers".to_owned());
        refused.for_each(|finding| finding.answer.explanation += &format!("; the agent's mode is {mode}"));
    }
}

fn kernel_log(file: Option<&Path>, paths: &Paths) -> anyhow::Result<KernelLog> {
    let wanted = |text: &str| LoggedMessage::parse(text).is_some();
    match file {
        Some(file) if file == Path::new("-") => Ok(KernelLog::saved(io::stdin().lock(), wanted)?),
        Some(file) => {
            let opened = File::open(file).and_then(|file| KernelLog::saved(file, wanted));
            opened.with_context(|| file.display().to_string())
        }
        None if paths.is_own_sysfs() => KernelLog::read(Path::new(KMSG), wanted).context(KMSG),
        None => bail!("{} is not this host's: name a saved log with --kernel-log", paths.sysfs.display()),
    }
}

/// Adds what the agent recorded, and the saved blocks of disabled namespaces.
fn add_store(
    reader: &Reader,
    since: Option<SystemTime>,
    inventory: &Inventory,
    blocks: &mut InfoBlocks,
    history: &mut History,
) -> anyhow::Result<()> {
    let disabled = |namespace: &&Namespace| !namespace.bound && namespace.enabled_under().is_none();
    let disabled: Vec<_> = inventory.namespaces.iter().filter(disabled).collect();
    let saved = if disabled.is_empty() { Vec::new() } else { reader.blocks()? };
    for namespace in disabled {
        if let Some(block) = saved.iter().find(|block| is_of(block, namespace)) {
            blocks.insert(&namespace.name, *block.bytes());
        }
    }
    let kinds = event_failure::KINDS.map(str::to_owned).to_vec();
    let events = reader.last(&EventFilter { since, kinds, ..EventFilter::default() }, MAX_EVENTS)?;
    for recorded in events.iter().filter_map(|event| of_event(&event.json, &event.line)) {
        match recorded {
            Recorded::Failed(finding) => history.failures.push(finding),
            Recorded::Enabled(enabled) => history.enabled.push(enabled),
        }
    }
    Ok(())
}

/// A block that nobody can have written over since. A name is no identity: regions are numbered again at each boot.
fn is_of(saved: &SavedInfoBlock, namespace: &Namespace) -> bool {
    let id = &saved.namespace;
    let same = match namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil()) {
        Some(uuid) => id.namespace_uuid == Some(*uuid),
        None => namespace.resource == Ok(id.start_address) && namespace.size == Ok(id.size_bytes),
    };
    same && !saved.destroyed && !saved.raw_since
}

impl WhyReport {
    fn exit(&self) -> Exit {
        if self.findings.iter().any(|finding| finding.answer.cause.is_problem()) {
            Exit::Findings
        } else if self.kernel_log_problem.is_some() {
            Exit::Unsupported
        } else {
            Exit::Success
        }
    }

    fn text(&self) -> String {
        let mut parts: Vec<String> = self.findings.iter().map(finding_text).collect();
        if self.findings.is_empty() {
            parts.push("Nothing failed that is known, and nothing is disabled or oversize.\n".to_owned());
        }
        let mut notes = String::new();
        if let Some(problem) = &self.kernel_log_problem {
            notes += &format!("The kernel's log was not read: {problem}\n");
        }
        if self.kernel_log_truncated {
            notes += "The oldest messages of this boot are gone: journalctl -k may have them.\n";
        }
        if let Some(problem) = &self.event_store_problem {
            notes += &format!("The event store was not read: {problem}\n");
        }
        parts.extend(Some(notes).filter(|notes| !notes.is_empty()));
        parts.join("\n")
    }
}

fn finding_text(finding: &Finding) -> String {
    let Finding { namespace, device, evidence, time, quote, answer } = finding;
    let subject = match (namespace, device) {
        (Some(namespace), Some(device)) if namespace != device => format!("{namespace} ({device}): "),
        (Some(name), _) | (None, Some(name)) => format!("{name}: "),
        (None, None) => String::new(),
    };
    let time = time.as_ref().map_or_else(String::new, |time| format!(", {time}"));
    let quote = quote.as_ref().map_or_else(String::new, |quote| format!(": {quote}"));
    let evidence = <&str>::from(*evidence);
    format!(
        "{subject}{}\n  evidence  {evidence}{time}{quote}\n  reason    {}\n  next      {}\n",
        answer.cause.as_str(),
        answer.explanation,
        answer.next
    )
}
