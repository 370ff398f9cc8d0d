//! `pfnwatch guard release`: takes a guard away that was held.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    control::{
        SocketArgs,
        client::{self, Silence, try_to_ask},
        protocol::{Answer, Refusal, Released, Request},
    },
    exit::Exit,
    format::{Format, document},
    paths::Paths,
    terminal,
};

/// Where the pins of a held guard are, on the BPF file system.
const PINS: &str = "/sys/fs/bpf/pfnwatch";

/// Options of `pfnwatch guard`.
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Take away what keeps the guard in the kernel without an agent
    Release(ReleaseArgs),
}

/// Options of `pfnwatch guard release`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch guard release   where an agent with on_agent_exit = \"hold\" has ended: the guard goes too

Where an agent runs it is asked: it removes the pins and goes on guarding by itself, until it ends. Where none runs the \
pins are removed, and the guard is gone with them. Either way nothing is created by that.

Exit codes: 0 fine, also where nothing was held; 1 error; 2 wrong usage.")]
struct ReleaseArgs {
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

/// Runs the command.
///
/// # Errors
/// The agent refuses, or the pins cannot be removed.
pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let Command::Release(args) = &args.command;
    let released = match try_to_ask(&args.socket.path, &Request::Release) {
        Ok(said) => match said.answer {
            Answer::Released(released) => released,
            _ => return Err(client::other_answer()),
        },
        Err(Silence::NoAgent(_)) => remove_pins(Path::new(PINS))?,
        Err(silence) => return Err(Refusal::from(silence).into_error()),
    };
    terminal::print(&match args.format {
        Format::Json => document(&released)?,
        Format::Table => text(&released),
    })?;
    Ok(Exit::Fine)
}

fn text(released: &Released) -> String {
    let mut text: String = released.removed.iter().map(|pin| format!("removed {pin}\n")).collect();
    text.push_str(match (released.removed.is_empty(), released.still_guarding) {
        (true, false) => "No guard was held.\n",
        (false, false) => "The guard is gone.\n",
        (true, true) => "No guard was held. The agent that runs guards, until it ends.\n",
        (false, true) => "The guard is not held any more. The agent that runs guards on, until it ends.\n",
    });
    text
}

/// Removes the pins that an agent left: without them the kernel lets go of the programs and maps.
fn remove_pins(root: &Path) -> anyhow::Result<Released> {
    let mut pins = Vec::new();
    collect(root, &mut pins).with_context(|| format!("reading the pins below {} (it needs root)", root.display()))?;
    for pin in &pins {
        fs::remove_file(pin).with_context(|| format!("removing the pin {}", pin.display()))?;
    }
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", root.display()));
        }
        _ => {}
    }
    let removed = pins.iter().map(|pin| pin.display().to_string()).collect();
    Ok(Released { removed, still_guarding: false })
}

/// All files below a folder, in the order of their paths; none where it is not there.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pins_go_and_nothing_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("pfnwatch");
        assert_eq!(text(&remove_pins(&root).unwrap()), "No guard was held.\n");
        fs::create_dir_all(root.join("v1/maps")).unwrap();
        for pin in ["v1/guard", "v1/maps/POLICIES"] {
            fs::write(root.join(pin), "").unwrap();
        }
        let released = remove_pins(&root).unwrap();
        assert_eq!(released.removed, ["v1/guard", "v1/maps/POLICIES"].map(|pin| root.join(pin).display().to_string()));
        assert!(text(&released).ends_with("POLICIES\nThe guard is gone.\n"));
        assert!(!root.exists());
    }
}
