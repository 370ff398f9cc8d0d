//! `pfnwatch events restore-block`: the info block that a namespace had last, for a reconfigure that went wrong, where the
//! block on the media is gone.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pfnwatch_common::superblock::{self, Checksum, InfoBlock};
use serde::Serialize;

use crate::cli::command::superblock::{FoundBlock, SuperblockDocument, SuperblockReport};
use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::model::control::{InfoBlockResponse, Request, Response};
use crate::model::exit::Exit;
use crate::model::restore_commands;
use crate::model::shell_word::shell_word;
use crate::os::control_client::{ClientError, try_request};
use crate::store::Reader;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch events restore-block namespace0.0               the block's fields, and the steps
  sudo pfnwatch events restore-block namespace0.0 -o block.bin  the same, and the block itself into a new file

It changes nothing on the namespace: the steps are for people. The agent that runs is asked, and where none does the event store is
read.

Exit codes: 0 success; 1 error, or no block of this namespace is saved; 2 wrong usage.")]
pub(super) struct Args {
    /// The namespace: its name, its namespace uuid, its block's uuid or its start address (0x…)
    #[arg(value_name = "NAMESPACE")]
    namespace: String,
    /// Write the 4096 bytes into a new file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How to write the report
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

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let saved = find(args)?;
    let found = found(&saved)?;
    if let Some(file) = &args.output {
        write(&saved, file)?;
    }
    let report = SuperblockReport::of(&found);
    let text = match args.format {
        Format::Json => {
            document(&RestoredBlock::new(SuperblockDocument::from(&report), &saved, args.output.as_deref()))?
        }
        _ => head(&saved) + &report.text() + &steps(&saved, args.output.as_deref()),
    };
    terminal::print(&text)?;
    Ok(Exit::Success)
}

/// The block's fields and the commands that put it back, as JSON.
pub(in crate::cli::command) fn describe(saved: &InfoBlockResponse) -> anyhow::Result<String> {
    let found = found(saved)?;
    document(&RestoredBlock::new(SuperblockDocument::from(&SuperblockReport::of(&found)), saved, None))
        .map_err(Into::into)
}

/// The agent has the latest block, even if its store accepts nothing; the store has older ones, and needs no agent.
fn find(args: &Args) -> anyhow::Result<InfoBlockResponse> {
    let namespace = args.namespace.clone();
    let silence = match try_request(&args.socket.path, &Request::Block { namespace }) {
        Ok(Response::Block(saved)) => return Ok(*saved),
        Ok(_) => None,
        Err(silence) => Some(silence),
    };
    let file = args.store.file(&args.config)?;
    let from_store = Reader::open(&file).and_then(|reader| reader.block(&args.namespace));
    match (from_store, silence) {
        (Ok(Some(saved)), _) => Ok((&saved).into()),
        (Ok(None), _) => anyhow::bail!("no info block of {} is saved in {}", args.namespace, file.display()),
        (Err(error), None | Some(ClientError::NoAgent(_))) => Err(error.into()),
        (Err(error), Some(silence)) => {
            Err(anyhow::Error::from(error).context(crate::model::control::ErrorResponse::from(silence)))
        }
    }
}

fn found(saved: &InfoBlockResponse) -> anyhow::Result<FoundBlock> {
    let bytes = saved.block.as_slice();
    let block = InfoBlock::from_head(bytes).context("what the agent saved is not an info block")?;
    let checksum = Checksum::of(bytes).context("what the agent saved is not an info block")?;
    Ok(FoundBlock { offset: superblock::OFFSET, block, checksum, namespace_bytes: saved.size_bytes })
}

/// Writes the 4096 bytes into a new file. Never into an existing one: it might be the namespace's own device.
fn write(saved: &InfoBlockResponse, file: &Path) -> anyhow::Result<()> {
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .with_context(|| format!("making {} (a file that is there is not overwritten)", file.display()))?;
    opened.write_all(saved.block.as_slice()).with_context(|| format!("writing {}", file.display()))
}

fn head(saved: &InfoBlockResponse) -> String {
    format!("{:<18}{}\n{:<18}{}\n", "namespace", saved.namespace, "last seen", saved.seen)
}

fn steps(saved: &InfoBlockResponse, file: Option<&Path>) -> String {
    let steps = restore_commands(saved, file);
    if steps.is_empty() {
        return String::new();
    }
    let lines: String = steps.iter().map(|step| format!("  {step}\n")).collect();
    format!("\nTo restore it, if nothing was written to the namespace since:\n{lines}")
}

/// The agent's commands, with the name of the file that contains the block; if there is none yet, a command that writes
/// it comes first.
fn restore_commands(saved: &InfoBlockResponse, file: Option<&Path>) -> Vec<String> {
    if saved.restore_commands.is_empty() {
        return Vec::new();
    }
    let Some(file) = file else {
        let fetch = restore_commands::fetch(&saved.namespace, "FILE");
        return std::iter::once(fetch).chain(saved.restore_commands.iter().cloned()).collect();
    };
    let file = shell_word(&file.display().to_string());
    saved.restore_commands.iter().map(|step| step.replace("FILE", &file)).collect()
}

/// The same for programs.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RestoreBlockDocument"))]
pub(in crate::cli::command) struct RestoredBlock<'a> {
    /// The block.
    #[serde(flatten)]
    block: SuperblockDocument<'a>,
    /// The namespace's name when the block was seen.
    namespace: &'a str,
    /// Physical address of its first byte.
    start_address: u64,
    /// When the block was seen last, in RFC 3339.
    last_seen: &'a str,
    /// The commands that restore it, if that is possible.
    restore_commands: Vec<String>,
}

impl<'a> RestoredBlock<'a> {
    fn new(block: SuperblockDocument<'a>, saved: &'a InfoBlockResponse, file: Option<&Path>) -> Self {
        let InfoBlockResponse { namespace, start_address, seen, .. } = saved;
        Self {
            block,
            namespace,
            start_address: *start_address,
            last_seen: seen,
            restore_commands: restore_commands(saved, file),
        }
    }
}
