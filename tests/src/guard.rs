//! The agent as a guard: starts it with a configuration, waits until it judges, sends it requests.

use std::io::{BufRead, BufReader, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc;
use serde_json::{Value, json};

use crate::agent::{self, Agent, has_text};
use crate::command::{self, CommandOutput};
use crate::creation::PreparedNamespace;
use crate::policy::{self, GuardMode, Policy};
use crate::wait;

/// The agent's control socket in the guest: the default, to which the agent's own remedies go.
pub const SOCKET: &str = "/run/pfnwatch/control.sock";
const ARMED_TIMEOUT: Duration = Duration::from_secs(30);
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

pub const JUDGEMENTS: [&str; 4] = ["denied", "would_deny", "exempt", "unjudged"];

/// A running agent whose guard is armed. Killed when dropped.
pub struct Guard(Agent);

impl Guard {
    /// Starts the agent with this policy, and waits until its guard judges.
    pub fn start(policy: &Policy) -> Result<Self> {
        Self::start_with(policy, &[])
    }

    pub fn start_with(policy: &Policy, arguments: &[&str]) -> Result<Self> {
        let mut guard = Self::spawn(policy, arguments)?;
        // Its own word: to ask again and again would take the time that it needs.
        let armed = |event: &Value| has_text(event, "event", "guard_state") && event["armed"] == true;
        guard.0.event("an armed guard", ARMED_TIMEOUT, |event| armed(event).then_some(()))?;
        Ok(guard)
    }

    /// Starts the agent with this policy, and waits until it is ready: its guard may not judge yet.
    pub fn spawn(policy: &Policy, arguments: &[&str]) -> Result<Self> {
        policy.write()?;
        let usual = ["--config", policy::PATH, "--control-socket", SOCKET];
        Agent::start(&[&usual, arguments].concat()).map(Self)
    }

    pub fn armed(&mut self) -> Result<()> {
        let ask = || request(&json!("status")).ok().filter(is_armed).map(drop);
        let armed = wait::until("an armed guard", ARMED_TIMEOUT, ask);
        armed.with_context(|| format!("status: {:?}{}", status(), self.output()))
    }

    /// Changes the mode through the socket; it is in force on return.
    pub fn stance(&self, stance: GuardMode) -> Result<()> {
        succeed(&["mode", stance.as_str()]).map(drop)
    }

    /// Binds what was prepared, which must be denied, and returns the event. No other error looks like this: ENOMEM is
    /// what the driver core makes of a refusal to link the driver (`really_probe` in drivers/base/dd.c).
    pub fn denies(&mut self, prepared: &PreparedNamespace) -> Result<Value> {
        let code = prepared.bind().map_err(|error| error.raw_os_error());
        ensure!(code == Err(Some(libc::ENOMEM)), "{prepared:?}: {code:?}, and no denial{}", self.output());
        self.judgement("denied", prepared)
    }

    /// Binds what was prepared, which must be allowed.
    pub fn passes(&mut self, prepared: &PreparedNamespace) -> Result<()> {
        let bound = prepared.bind();
        bound.with_context(|| format!("{prepared:?} does not pass{}", self.output()))
    }

    /// The last event of this kind about a block that was not yet written.
    pub fn judgement(&mut self, kind: &str, prepared: &PreparedNamespace) -> Result<Value> {
        self.event(&format!("{kind} of {prepared:?}"), EVENT_TIMEOUT, |event| {
            let ours = has_text(event, "event", kind) && has_text(event, "block_uuid", &prepared.block_uuid);
            ours.then(|| event.clone())
        })
    }

    /// Ends the agent, which must have reported no judgement, and lost nothing.
    pub fn was_silent(mut self) -> Result<()> {
        self.judged_only(&[])
    }

    /// Ends the agent, which must have reported judgements of these kinds only, as often as they are named.
    pub fn judged_only(&mut self, kinds: &[&str]) -> Result<()> {
        let tally = self.stop_and_count()?;
        ensure!(tally.get("lost") == Some(&0.into()), "events were lost: {tally}");
        let told = self.judgements();
        let mut found: Vec<&str> = told.iter().filter_map(|event| event.get("event")?.as_str()).collect();
        let mut expected = kinds.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        ensure!(found == expected, "{expected:?} were expected: {told:#?}");
        Ok(())
    }

    /// Waits until so many judgements were reported, and returns all of them.
    pub fn judgements_at_least(&mut self, count: usize) -> Result<Vec<Value>> {
        self.collect(&format!("{count} judgements"), count, EVENT_TIMEOUT, is_judgement)
    }

    pub fn judgements(&mut self) -> Vec<Value> {
        self.events(is_judgement)
    }
}

impl Deref for Guard {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.0
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Agent {
        &mut self.0
    }
}

fn is_judgement(event: &Value) -> bool {
    JUDGEMENTS.iter().any(|kind| has_text(event, "event", kind))
}

pub fn pfnwatch(arguments: &[&str]) -> Result<CommandOutput> {
    command::attempt(agent::PROGRAM, &[arguments, &["--control-socket", SOCKET]].concat())
}

/// The same, which must succeed; returns its output.
pub fn succeed(arguments: &[&str]) -> Result<String> {
    let said = pfnwatch(arguments)?;
    ensure!(said.code == Some(0), "pfnwatch {arguments:?}: {said:?}");
    Ok(said.stdout)
}

/// Asks the agent by its socket without a command in between, which takes a tenth of a second under emulation. Returns
/// the first line of the answer.
pub fn request(request: &Value) -> Result<Value> {
    request_at(SOCKET, request)
}

pub fn request_at(path: &str, request: &Value) -> Result<Value> {
    let mut socket = UnixStream::connect(path).with_context(|| format!("nobody listens at {path}"))?;
    writeln!(socket, "{}", json!({ "schema": 1, "request": request })).context("the request is not taken")?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).context("no answer")?;
    serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))
}

/// The output of `pfnwatch status`: it ends with 4 if the mode is enforce and not effective.
pub fn status() -> Result<Value> {
    let said = pfnwatch(&["status", "--format", "json"])?;
    ensure!(matches!(said.code, Some(0 | 4)), "pfnwatch status: {said:?}");
    serde_json::from_str(&said.stdout).with_context(|| format!("no JSON: {said:?}"))
}

pub fn is_armed(answer: &Value) -> bool {
    answer.pointer("/answer/status/guard/armed") == Some(&true.into())
}
