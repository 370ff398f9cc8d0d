//! `pfnwatch guard release`: takes a guard away that was held.

use crate::bpf::pins::Pins;
use crate::bpf::takeover::release;
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::model::control::{ErrorResponse, Released, Request, Response};
use crate::model::exit::Exit;
use crate::os::control_client::{self, ClientError, try_request};
use crate::os::paths::Paths;

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

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch guard release   where an agent with on_agent_exit = \"hold\" has ended: the guard goes too

Where an agent runs it is asked: it removes the pins and goes on guarding by itself, until it ends. Where none runs the \
pins are removed, and the guard is gone with them. Either way nothing is created by that.

Exit codes: 0 success, also where nothing was held; 1 error; 2 wrong usage.")]
struct ReleaseArgs {
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let Command::Release(args) = &args.command;
    let released = match try_request(&args.socket.path, &Request::Release) {
        Ok(said) => match said {
            Response::Released(released) => released,
            _ => return Err(control_client::unexpected_response()),
        },
        Err(ClientError::NoAgent(_)) => {
            let removed = release(&Pins::system())?.iter().map(|pin| pin.display().to_string()).collect();
            Released { removed, still_guarding: false }
        }
        Err(silence) => return Err(ErrorResponse::from(silence).into_error()),
    };
    terminal::print(&args.format.render(&released, || text(&released))?)?;
    Ok(Exit::Success)
}

fn text(released: &Released) -> String {
    let mut text: String = released.removed.iter().map(|pin| format!("removed {pin}\n")).collect();
    text.push_str(match (released.removed.is_empty(), released.still_guarding) {
        (true, false) => "No pinned guard was found.\n",
        (false, false) => "The guard is removed.\n",
        (true, true) => "No pinned guard was found. The running agent's guard stays until the agent ends.\n",
        (false, true) => "The guard is not pinned any more. The running agent's guard stays until the agent ends.\n",
    });
    text
}
