//! `pfnwatch events`: what happened on this host, out of the event store.

pub(super) mod restore_block;

use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Subcommand;

use crate::cli::output::terminal;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::export::event_log::LogFormat;
use crate::model::exit::Exit;
use crate::os::paths::Paths;
use crate::store::{EventFilter, Reader, StoredEvent};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  sudo pfnwatch events                      the last 100 events, the oldest first, as `run` prints them
  sudo pfnwatch events --denied             why creations were denied, or would have been under enforce
  sudo pfnwatch events --since 2h --follow  those of two hours, and whatever comes
  sudo pfnwatch events --since 2026-05-01T00:00:00Z --kind mode_changed --kind exemption_granted
  sudo pfnwatch events --namespace namespace0.0 --format json | jq .
  sudo pfnwatch events restore-block namespace0.0 -o block.bin

They are read from the event store, whether an agent runs or not.

Exit codes: 0 success; 1 error, or there is no event store; 2 wrong usage.")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only events from this time on: a time as 2026-05-01T12:00:00Z, or how long ago, as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// Only events of this kind, by the `event` of their JSON: set_up, denied, mode_changed, …; several may be named
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<String>,
    /// Only events of this namespace: its name, or its namespace uuid
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only what was denied, and what would have been under enforce
    #[arg(long)]
    denied: bool,
    /// Only the last N of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print what comes from now on, too
    #[arg(long)]
    follow: bool,
    /// How to write the events
    #[arg(long, value_enum, default_value_t = LogFormat::Line)]
    format: LogFormat,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

/// What else there is in the event store.
#[derive(Debug, Subcommand)]
enum Command {
    /// Print the info block that a namespace had last, and the steps that put it back
    RestoreBlock(restore_block::Args),
}

fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SystemTime::now().checked_sub(ago));
    ago.ok_or_else(|| {
        format!("`{text}` is neither a time, as 2026-05-01T12:00:00Z, nor how long ago, as 90min or 2days")
    })
}

fn kind(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a kind: use denied, set_up, mode_changed, …"))
    }
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    if let Some(Command::RestoreBlock(args)) = &args.command {
        return restore_block::run(args);
    }
    let file = args.store.file(&args.config)?;
    let mut wanted = EventFilter {
        after: 0,
        since: args.since,
        kinds: args.kind.clone(),
        namespace: args.namespace.clone(),
        denied: args.denied,
    };
    let reader = Reader::open(&file)?;
    let entries = reader.last(&wanted, args.limit)?;
    print(&entries, args.format)?;
    let shown = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    if let Some(note) = truncation_note(shown, reader.count(&wanted)?) {
        eprintln!("pfnwatch: {note}");
    }
    drop(reader);
    if args.follow {
        wanted.after = entries.last().map_or(0, |entry| entry.id);
        follow(&file, wanted, args.format)?;
    }
    Ok(Exit::Success)
}

fn print(entries: &[StoredEvent], format: LogFormat) -> io::Result<()> {
    let text = entries.iter().fold(String::new(), |text, StoredEvent { json, line, .. }| {
        text + if format == LogFormat::Json { json } else { line } + "\n"
    });
    terminal::print(&text)
}

/// Prints new events until the reader closes the pipe. The file is opened again each time: the agent may start another
/// one.
fn follow(file: &Path, mut wanted: EventFilter, format: LogFormat) -> anyhow::Result<()> {
    loop {
        thread::sleep(POLL_INTERVAL);
        let entries = Reader::open(file)?.last(&wanted, u32::MAX)?;
        wanted.after = entries.last().map_or(wanted.after, |entry| entry.id);
        let mut stdout = io::stdout().lock();
        for StoredEvent { json, line, .. } in entries {
            match writeln!(stdout, "{}", if format == LogFormat::Json { json } else { line }) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        stdout.flush()?;
    }
}

fn truncation_note(shown: u64, there: u64) -> Option<String> {
    match there.saturating_sub(shown) {
        0 if shown == 0 => Some("there is no such event in the event store".to_owned()),
        0 => None,
        more => Some(format!("{more} older ones are in the event store: --limit shows more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_said() {
        assert_eq!(truncation_note(3, 3), None);
        assert_eq!(truncation_note(0, 0).as_deref(), Some("there is no such event in the event store"));
        assert_eq!(truncation_note(1, 5).as_deref(), Some("4 older ones are in the event store: --limit shows more"));
    }

    #[test]
    fn times_are_points_or_distances() {
        let point = humantime::parse_rfc3339("2026-05-01T12:00:00Z").unwrap();
        assert_eq!(since("2026-05-01T12:00:00Z").unwrap(), point);
        let then = since("2h").unwrap();
        let ago = SystemTime::now().duration_since(then).unwrap();
        assert!((7200..7210).contains(&ago.as_secs()), "{ago:?}");
        assert!(since("yesterday").is_err() && since("99999999999999years").is_err());
    }

    #[test]
    fn kinds_are_words() {
        assert!(kind("mode_changed").is_ok() && kind("").is_err() && kind("a,b").is_err() && kind("Denied").is_err());
    }
}
