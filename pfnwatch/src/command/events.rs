//! `pfnwatch events`: what happened last, as far as the agent remembers.

use anyhow::Context as _;

use crate::{
    control::{
        SocketArgs,
        client::{self, Said, ask},
        protocol::{Answer, EventsFollow, EventsWanted, Form, Request},
    },
    exit::Exit,
    paths::Paths,
    sinks::log::Format,
    terminal,
};

/// Options of `pfnwatch events`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch events            the last 100 events, the oldest first, as `run` prints them
  sudo pfnwatch events --denied   why creations were denied, or would have been under enforce
  sudo pfnwatch events --denied --limit 1 --format json | jq .remedies

The agent remembers what fits into 256 KiB since it started; denials have half of that to themselves. What fell out is \
told on standard error.

Exit codes: 0 fine; 1 error, or no agent runs; 2 wrong usage.")]
pub struct Args {
    /// Only what was denied, and what would have been under enforce
    #[arg(long)]
    denied: bool,
    /// Only the last N of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to write the events
    #[arg(long, value_enum, default_value_t = Format::Line)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

/// Runs the command.
///
/// # Errors
/// The agent cannot be asked.
pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let form = match args.format {
        Format::Line => Form::Line,
        Format::Json => Form::Json,
    };
    let request = Request::Events(EventsWanted { denied: args.denied, limit: args.limit, form });
    let Said { answer: Answer::Events(follow), lines } = ask(&args.socket.path, &request)? else {
        return Err(client::other_answer());
    };
    terminal::print(&text(lines, form)?)?;
    if let Some(note) = note(follow, args.denied) {
        eprintln!("pfnwatch: {note}");
    }
    Ok(Exit::Fine)
}

fn text(lines: Vec<String>, form: Form) -> anyhow::Result<String> {
    let mut text = String::new();
    for line in lines {
        let line = match form {
            Form::Json => line,
            Form::Line => serde_json::from_str(&line).context("the agent's line is no JSON text")?,
        };
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// What is not shown, if anything.
fn note(EventsFollow { count, dropped, left_out }: EventsFollow, denied: bool) -> Option<String> {
    let mut parts = Vec::new();
    if count == 0 {
        let nothing = if denied { "nothing was denied since the agent started" } else { "no events yet" };
        parts.push(nothing.to_owned());
    }
    if left_out > 0 {
        parts.push(format!("{left_out} older ones are remembered: --limit shows more"));
    }
    if dropped > 0 {
        parts.push(format!("{dropped} older ones are not remembered any more"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_said() {
        let follow = |count, left_out, dropped| EventsFollow { count, dropped, left_out };
        assert_eq!(note(follow(3, 0, 0), false), None);
        assert_eq!(note(follow(0, 0, 0), true).as_deref(), Some("nothing was denied since the agent started"));
        let both = note(follow(1, 4, 5), false).unwrap();
        assert_eq!(both, "4 older ones are remembered: --limit shows more; 5 older ones are not remembered any more");
    }

    #[test]
    fn lines_come_out_of_their_json() {
        assert_eq!(text(vec![r#""a \"b\"""#.to_owned()], Form::Line).unwrap(), "a \"b\"\n");
        assert_eq!(text(vec![r#"{"a":1}"#.to_owned()], Form::Json).unwrap(), "{\"a\":1}\n");
        assert!(text(vec!["{".to_owned()], Form::Line).is_err());
    }
}
