//! `pfnwatch allow`: breaks the glass. A creation that would be denied passes, once or for a time.

mod region;

use std::time::Duration;

use anyhow::bail;
use comfy_table::{Table, presets};
use serde::Serialize;
use uuid::Uuid;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::model::control::{Allow, Allowed, MAX_EXEMPTION_S, Request, Response};
use crate::model::exit::{Exit, ExitContext};
use crate::model::policy::ExemptionSubject;
use crate::model::status::{ExemptionOrigin, ExemptionStatus};
use crate::os::control_client;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch allow --region region0 --once --reason 'db3 is restored onto the old layout'
  sudo pfnwatch allow --region 0x100000000 --for 10m --reason 'ticket 4711'
  sudo pfnwatch allow --uuid 5a1e0bb4-6d51-4e4b-9f0c-2f3f0d8f9a11 --once --for 1h --reason rebuild
  sudo pfnwatch allow --list
  sudo pfnwatch allow --revoke 7

Every exemption expires: with --once after the first creation that it allows, with --for at a time, with both at \
whichever comes first. A permanent exemption belongs in the policy. A region's name can change at the next boot, so the \
exemption applies to the physical address where the region starts, or to its set_cookie.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage.")]
#[group(id = "what", required = true, multiple = false, args = ["region", "uuid", "list", "revoke"])]
pub struct Args {
    /// All namespaces of a region: region0, or its set_cookie or start address as 0x…
    #[arg(long, value_name = "R", requires = "reason")]
    region: Option<String>,
    /// The namespace with this namespace uuid (`ndctl list` shows it as uuid)
    #[arg(long, value_name = "U", requires = "reason")]
    uuid: Option<Uuid>,
    /// Expire after one creation
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    once: bool,
    /// Expire after TIME: 90s, 10m, 1h 30m, up to 7d
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["list", "revoke"])]
    time: Option<Duration>,
    /// Reason, recorded with each event of the exemption
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["list", "revoke"])]
    reason: Option<String>,
    /// List the exemptions in force, including those of the policy
    #[arg(long)]
    list: bool,
    /// Revoke an exemption
    #[arg(long, value_name = "ID")]
    revoke: Option<u64>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}: write a time such as 90s, 10m or 1h 30m"))?;
    if time.subsec_nanos() == 0 && (1..=MAX_EXEMPTION_S).contains(&time.as_secs()) {
        return Ok(time);
    }
    Err("it must be whole seconds, up to 7 days; a lasting exemption belongs into the policy".to_owned())
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let text = if args.list {
        list(args)?
    } else if let Some(id) = args.revoke {
        revoke(args, id)?
    } else {
        allow(args, paths)?
    };
    terminal::print(&text)?;
    Ok(Exit::Success)
}

fn allow(args: &Args, paths: &Paths) -> anyhow::Result<String> {
    // Before the region is read, which needs root: a usage error does not.
    if !args.once && args.time.is_none() {
        bail!(ExitContext::usage("an exemption must expire: give --once (one creation), --for TIME, or both"));
    }
    let request = Request::Allow(Allow {
        subject: subject(args, paths)?,
        once: args.once,
        for_seconds: args.time.map(|time| time.as_secs()),
        reason: args.reason.clone().unwrap_or_default(),
    });
    let Response::Allowed(allowed) = control_client::request(&args.socket.path, &request)? else {
        return Err(control_client::unexpected_response());
    };
    Ok(args.format.render(&allowed, || granted(&allowed, args.once))?)
}

fn subject(args: &Args, paths: &Paths) -> anyhow::Result<ExemptionSubject> {
    match (&args.region, args.uuid) {
        (Some(region), _) => region::find(region, paths),
        (None, Some(uuid)) => Ok(ExemptionSubject::Namespace(uuid)),
        (None, None) => Err(ExitContext::usage("name what is exempt: --region or --uuid").into()),
    }
}

fn granted(Allowed { id, subject, until }: &Allowed, once: bool) -> String {
    let end = match (once, until) {
        (true, None) => "once".to_owned(),
        (true, Some(until)) => format!("once, until {until}"),
        (false, Some(until)) => format!("until {until}"),
        (false, None) => "until it is revoked".to_owned(),
    };
    format!("exemption {id}: {subject}, {end}\n`pfnwatch allow --revoke {id}` revokes it.\n")
}

fn revoke(args: &Args, id: u64) -> anyhow::Result<String> {
    let Response::Revoked(revoked) = control_client::request(&args.socket.path, &Request::Revoke { id })? else {
        return Err(control_client::unexpected_response());
    };
    Ok(args.format.render(&revoked, || format!("exemption {} is revoked\n", revoked.id))?)
}

fn list(args: &Args) -> anyhow::Result<String> {
    let status = control_client::status(&args.socket.path)?;
    let exemptions = &status.exemptions;
    Ok(args.format.render(&Exemptions { exemptions }, || match exemptions.is_empty() {
        true => "No exemption is in force.\n".to_owned(),
        false => table(exemptions),
    })?)
}

/// The list as JSON.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Exemptions<'a> {
    /// The exemptions in force.
    exemptions: &'a [ExemptionStatus],
}

pub(in crate::cli::command) fn table(exemptions: &[ExemptionStatus]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["ID", "EXEMPT", "UNTIL", "REASON", "BY"]);
    for exemption in exemptions {
        table.add_row(row(exemption));
    }
    format!("{}\n", table.trim_fmt())
}

fn row(exemption: &ExemptionStatus) -> [String; 5] {
    let id = match exemption.origin {
        ExemptionOrigin::Allow => exemption.id.to_string(),
        // Its number is for the guard: nobody can revoke it by that.
        ExemptionOrigin::Policy => "policy".to_owned(),
    };
    let subject = match &exemption.region {
        Some(region) => format!("{region}: {}", exemption.subject),
        None => exemption.subject.to_string(),
    };
    [id, subject, end(exemption), exemption.reason.clone(), exemption.by.clone()]
}

fn end(exemption: &ExemptionStatus) -> String {
    let left = exemption.remaining_seconds.map(|seconds| humantime::format_duration(Duration::from_secs(seconds)));
    let until = match (&exemption.until, left) {
        (Some(until), Some(left)) => Some(format!("{until} ({left} left)")),
        (Some(until), None) => Some(until.to_string()),
        (None, _) => None,
    };
    match (exemption.once, until) {
        (true, Some(until)) => format!("one creation, or {until}"),
        (true, None) => "one creation".to_owned(),
        (false, Some(until)) => until,
        (false, None) => "the policy is changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::policy::ExemptionSubject;

    #[test]
    fn times_have_a_limit() {
        assert_eq!(parse_time("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_time("7d"), Ok(Duration::from_secs(MAX_EXEMPTION_S)));
        for text in ["", "10", "0s", "7d 1s", "10ms", "-1s", "99999999999999999999d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_granted_is_said() {
        let allowed = Allowed { id: 7, subject: ExemptionSubject::RegionStart(4 << 30), until: None };
        assert!(granted(&allowed, true).starts_with("exemption 7: the region that starts at 0x100000000, once\n"));
        let allowed = Allowed { until: Some("T".to_owned()), ..allowed };
        assert!(granted(&allowed, true).contains("once, until T\n"));
        assert!(granted(&allowed, false).contains("0x100000000, until T\n"));
    }

    #[test]
    fn each_end_is_said() {
        let mut exemption = ExemptionStatus {
            id: 7,
            origin: ExemptionOrigin::Allow,
            subject: ExemptionSubject::RegionStart(4 << 30),
            region: Some("region0".to_owned()),
            once: true,
            until: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            remaining_seconds: Some(90),
            reason: "why".to_owned(),
            by: "who".to_owned(),
        };
        assert_eq!(
            row(&exemption),
            [
                "7",
                "region0: the region that starts at 0x100000000",
                "one creation, or 2026-01-02T03:04:05Z (1m 30s left)",
                "why",
                "who"
            ]
        );
        exemption = ExemptionStatus { once: false, remaining_seconds: None, region: None, ..exemption };
        assert_eq!(end(&exemption), "2026-01-02T03:04:05Z");
        exemption = ExemptionStatus { until: None, origin: ExemptionOrigin::Policy, ..exemption };
        assert_eq!(row(&exemption)[..3], ["policy", "the region that starts at 0x100000000", "the policy is changed"]);
        assert_eq!(end(&ExemptionStatus { once: true, ..exemption }), "one creation");
    }
}
