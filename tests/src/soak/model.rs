//! The effects of acts on the store: a pure state machine over acts and their outcomes.
//!
//! It contains no part of pfnwatch. It knows the kernel's formula, the policy's keys, and what the documents promise:
//! an observer reports each event once; without one, what exists is found later.

pub mod act;
mod facts;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::act::{Configured, ExpectedDecision, Grant, Subject, Target};
use super::expected::{AGENT, Expected, Facts, Streams};
use crate::policy::GuardMode;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observer {
    /// Nobody: nothing is reported, and nothing denied.
    Nobody,
    /// The guard that an agent left. It records events for the next agent, as long as libnvdimm is the one it knows.
    Held {
        /// Whether libnvdimm was reloaded since: it then judges nothing, and sees no namespace.
        deaf: bool,
    },
    Agent,
    /// An agent whose probes do not fire. Its guard, if it is held, is disarmed: it allows, and records that.
    Blind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    pub target: Target,
    pub block_uuid: String,
    pub enabled: bool,
    told: bool,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub configured: Configured,
    pub mode: GuardMode,
    /// Whether a person has set the mode: it then outlives reloads, and restarts under hold.
    is_set_by_person: bool,
    pub watch: Observer,
    pub grants: Vec<Grant>,
    pub namespaces: BTreeMap<String, Namespace>,
    pub streams: Streams,
    /// What a pinned guard records for the next agent.
    later: Vec<(String, Expected)>,
}

impl Model {
    pub fn new() -> Self {
        let configured = Configured { strict: false, stance: GuardMode::Audit, hold: false };
        Self {
            configured,
            mode: configured.stance,
            is_set_by_person: false,
            watch: Observer::Nobody,
            grants: Vec::new(),
            namespaces: BTreeMap::new(),
            streams: Streams::default(),
            later: Vec::new(),
        }
    }

    /// The expected event of a creation before it is made.
    pub fn judge(&self, target: &Target) -> ExpectedDecision {
        let grant = self.grants.iter().find(|grant| match &grant.subject {
            Subject::Region(region) => *region == target.region,
            Subject::Namespace(uuid) => *uuid == target.uuid,
        });
        match (self.watch, grant) {
            (Observer::Nobody, _) => ExpectedDecision::Fine,
            _ if !target.shape.is_map_dev() => ExpectedDecision::Fine,
            (Observer::Blind, _) if !self.configured.hold => ExpectedDecision::Fine,
            (Observer::Held { deaf: true } | Observer::Blind, _) => ExpectedDecision::Unjudged,
            _ if !facts::is_oversize(target, self.configured) => ExpectedDecision::Fine,
            (_, Some(grant)) => ExpectedDecision::Exempt { id: grant.id, once: grant.once },
            _ if self.mode == GuardMode::Audit => ExpectedDecision::WouldDeny,
            _ => ExpectedDecision::Denied,
        }
    }

    /// A creation was attempted, and ended as judged. A denied one leaves a namespace without a block.
    pub fn tried(&mut self, target: &Target, block_uuid: &str, decision: ExpectedDecision) {
        let stream = of(&target.uuid);
        if let Some(facts) = facts::judgement(target, block_uuid, decision, self.configured) {
            // The hook is the kernel's own, and not libnvdimm's.
            self.expect_if_observed(&stream, facts, true);
        }
        if let ExpectedDecision::Exempt { id, once: true } = decision {
            self.grants.retain(|grant| grant.id != id);
            let facts = facts::exemption("exemption_spent", id);
            match self.watch {
                Observer::Agent => self.expect(&of_exemption(id), facts),
                _ => self.later.push((of_exemption(id), Expected::optional(facts))),
            }
        }
        if decision == ExpectedDecision::Denied {
            return;
        }
        self.expect_if_observed(&stream, facts::set_up(target, block_uuid, "made"), false);
        let (target, block_uuid, told) = (target.clone(), block_uuid.to_owned(), self.watch == Observer::Agent);
        self.namespaces.insert(target.uuid.clone(), Namespace { target, block_uuid, enabled: true, told });
    }

    pub fn enabled(&mut self, uuid: &str) {
        let Some(namespace) = self.namespaces.get_mut(uuid) else { return };
        namespace.enabled = true;
        namespace.told |= self.watch == Observer::Agent;
        let facts = facts::set_up(&namespace.target, &namespace.block_uuid, "existing");
        self.expect_if_observed(&of(uuid), facts, false);
    }

    pub fn disabled(&mut self, uuid: &str) {
        let Some(namespace) = self.namespaces.get_mut(uuid) else { return };
        if std::mem::take(&mut namespace.enabled) {
            self.expect_if_observed(&of(uuid), facts::unbind(uuid), false);
        }
    }

    /// The block of a namespace was overwritten: it is there, and disabled.
    pub fn blanked(&mut self, uuid: &str) {
        self.namespaces.remove(uuid);
    }

    /// A namespace was destroyed, with a block or without.
    pub fn destroyed(&mut self, uuid: &str) {
        self.disabled(uuid);
        self.namespaces.remove(uuid);
        let facts = facts::destroy(uuid);
        match self.watch {
            // The next agent cannot know that the label had room.
            Observer::Held { deaf: false } => self.later.push((of(uuid), Expected::optional(facts))),
            _ => self.expect_if_observed(&of(uuid), facts, false),
        }
    }

    pub fn started(&mut self, file: Configured) {
        self.expect(AGENT, facts::agent("policy_loaded"));
        self.expect(AGENT, facts::ready("observing"));
        let is_held = self.watch != Observer::Nobody;
        if !is_held {
            self.is_set_by_person = false;
            self.grants.clear();
        }
        if !self.is_set_by_person {
            self.mode = file.stance;
        }
        if is_held {
            self.expect(AGENT, facts::taken_over(self.mode));
        }
        self.configured = file;
        self.watch = Observer::Agent;
        for namespace in self.namespaces.values_mut() {
            namespace.told = namespace.enabled && namespace.target.shape.is_map_dev();
        }
        let found: Vec<_> = self.namespaces.values().filter(|namespace| namespace.told).cloned().collect();
        for namespace in found {
            self.expect(&of(&namespace.target.uuid), facts::found(&namespace.target, &namespace.block_uuid));
        }
        self.expect_later();
    }

    pub fn stopped(&mut self) {
        self.expect(AGENT, facts::stopped());
        self.detached();
    }

    /// The agent was killed: it may have lost what it had not yet reported.
    pub fn killed(&mut self) {
        let doubted = self.streams.take_uncertain();
        self.detached();
        if self.watch != Observer::Nobody {
            self.later.extend(doubted);
        }
    }

    pub fn released(&mut self) {
        self.watch = Observer::Nobody;
        self.grants.clear();
        self.later.clear();
    }

    pub fn reloaded(&mut self, file: Configured) {
        if file.hold != self.configured.hold {
            self.expect(AGENT, facts::ready("observing"));
        }
        self.expect(AGENT, facts::agent("policy_loaded"));
        self.configured = file;
        if !self.is_set_by_person {
            self.mode = file.stance;
        }
    }

    /// Kprobes were switched off, and the agent has seen it. Its guard, if it is held, allows and counts.
    pub fn blinded(&mut self) {
        self.expect(AGENT, facts::agent("policy_loaded"));
        self.expect(AGENT, facts::agent("blind"));
        self.watch = Observer::Blind;
    }

    /// Kprobes are on again, and the agent has seen it: it judges with the mode and the exemptions of now.
    pub fn sees_again(&mut self) {
        self.watch = Observer::Agent;
        self.expect(AGENT, facts::agent("policy_loaded"));
        self.expect(AGENT, facts::ready("observing"));
        let is_news = |it: &&mut Namespace| it.enabled && !it.told && it.target.shape.is_map_dev();
        let mut found = Vec::new();
        for namespace in self.namespaces.values_mut().filter(is_news) {
            namespace.told = true;
            found.push((of(&namespace.target.uuid), facts::found(&namespace.target, &namespace.block_uuid)));
        }
        found.into_iter().for_each(|(stream, facts)| self.expect(&stream, facts));
        self.expect_later();
    }

    /// What was recorded without an agent comes now.
    fn expect_later(&mut self) {
        for (stream, expected) in std::mem::take(&mut self.later) {
            self.streams.expect(&stream, expected);
        }
    }

    pub fn mode_set(&mut self, to: GuardMode) {
        self.is_set_by_person = true;
        self.expect(AGENT, facts::mode_changed(self.mode, to));
        self.mode = to;
    }

    pub fn granted(&mut self, grant: Grant) {
        self.expect(&of_exemption(grant.id), facts::exemption("exemption_granted", grant.id));
        self.grants.push(grant);
    }

    pub fn revoked(&mut self, id: u64) {
        self.expect(&of_exemption(id), facts::exemption("exemption_ended", id));
        self.grants.retain(|grant| grant.id != id);
    }

    fn detached(&mut self) {
        if self.configured.hold {
            self.watch = Observer::Held { deaf: false };
        } else {
            self.watch = Observer::Nobody;
            self.grants.clear();
        }
    }

    /// Reported now or later; never if nobody observes.
    fn expect_if_observed(&mut self, stream: &str, facts: Facts, deaf_too: bool) {
        match self.watch {
            Observer::Agent => self.expect(stream, facts),
            Observer::Held { deaf } if !deaf || deaf_too => {
                self.later.push((stream.to_owned(), Expected::required(facts)));
            }
            Observer::Blind if deaf_too && self.configured.hold => {
                self.later.push((stream.to_owned(), Expected::required(facts)));
            }
            Observer::Held { .. } | Observer::Nobody | Observer::Blind => (),
        }
    }

    fn expect(&mut self, stream: &str, facts: Facts) {
        self.streams.expect(stream, Expected::required(facts));
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

fn of(uuid: &str) -> String {
    format!("namespace {uuid}")
}

fn of_exemption(id: u64) -> String {
    format!("exemption {id}")
}

fn object(value: Value) -> Facts {
    match value {
        Value::Object(facts) => facts,
        other => [("value".to_owned(), json!(other))].into_iter().collect(),
    }
}

impl Model {
    /// libnvdimm was reloaded: each namespace with a block is enabled now, by the kernel, partly before anybody could
    /// observe it.
    pub fn libnvdimm_reloaded(&mut self) {
        let all: Vec<String> = self.namespaces.keys().cloned().collect();
        all.iter().for_each(|uuid| self.disabled(uuid));
        match self.watch {
            Observer::Agent => {
                self.expect(AGENT, facts::agent("blind"));
                self.streams.expect(AGENT, Expected::optional(facts::ready("idle")));
                self.expect(AGENT, facts::ready("observing"));
            }
            Observer::Held { .. } => {
                // Whether a probe was still there when the namespace went is the kernel's affair.
                self.later.iter_mut().filter(|(_, it)| it.is("unbind")).for_each(|(_, it)| it.surely = false);
                self.watch = Observer::Held { deaf: true };
            }
            Observer::Nobody | Observer::Blind => (),
        }
        let watched = self.watch == Observer::Agent;
        for (uuid, namespace) in &mut self.namespaces {
            namespace.enabled = true;
            if watched {
                let met = facts::set_up(&namespace.target, &namespace.block_uuid, "existing");
                let found = facts::found(&namespace.target, &namespace.block_uuid);
                let surely = !namespace.told && namespace.target.shape.is_map_dev();
                self.streams.expect(&of(uuid), Expected { one_of: vec![met.clone(), found], surely });
                self.streams.expect(&of(uuid), Expected::optional(met));
                namespace.told |= surely;
            }
        }
    }
}

#[cfg(test)]
mod tests;
