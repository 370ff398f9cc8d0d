//! What was done, and what follows of it for the journal: a pure state machine that is told each act and its outcome.
//!
//! It has no part of pfnwatch in it. It knows the kernel's formula, the policy's words, and what the documents promise: whoever
//! watches tells each event once; where nobody does, what is there is found later.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::act::{Configured, Grant, Judged, Subject, Target};
use super::expected::{AGENT, Expected, Facts, Streams};
use crate::policy::Stance;

pub mod act;
mod facts;
mod load;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watch {
    /// Nobody: nothing is told, and nothing denied.
    Nobody,
    /// The guard that an agent left. It remembers what it meets for the next agent, as long as libnvdimm is the one it knows.
    Held {
        /// Whether libnvdimm was loaded anew since: it then judges nothing, and sees no namespace.
        deaf: bool,
    },
    /// An agent.
    Agent,
}

/// A namespace with an info block.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// What it is.
    pub target: Target,
    /// The uuid of its block.
    pub block_uuid: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether the agent that runs has told of this block.
    told: bool,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is in force, but for the mode.
    pub configured: Configured,
    /// The mode in force.
    pub mode: Stance,
    /// Who watches.
    pub watch: Watch,
    /// Exemptions in force.
    pub grants: Vec<Grant>,
    /// By namespace uuid.
    pub namespaces: BTreeMap<String, Namespace>,
    /// What has to be told.
    pub streams: Streams,
    /// What a held guard keeps for the next agent.
    later: Vec<(String, Expected)>,
}

impl Model {
    /// Nothing was done yet.
    pub fn new() -> Self {
        let configured = Configured { strict: false, stance: Stance::Audit, hold: false };
        Self {
            configured,
            mode: configured.stance,
            watch: Watch::Nobody,
            grants: Vec::new(),
            namespaces: BTreeMap::new(),
            streams: Streams::default(),
            later: Vec::new(),
        }
    }

    /// What has to be said of a creation before it is made.
    pub fn judge(&self, target: &Target) -> Judged {
        let grant = self.grants.iter().find(|grant| match &grant.subject {
            Subject::Region(region) => *region == target.region,
            Subject::Namespace(uuid) => *uuid == target.uuid,
        });
        match (self.watch, grant) {
            (Watch::Nobody, _) => Judged::Fine,
            _ if !target.shape.is_map_dev() => Judged::Fine,
            (Watch::Held { deaf: true }, _) => Judged::Unjudged,
            _ if !facts::is_oversize(target, self.configured) => Judged::Fine,
            (_, Some(grant)) => Judged::Exempt { id: grant.id, once: grant.once },
            _ if self.mode == Stance::Audit => Judged::WouldDeny,
            _ => Judged::Denied,
        }
    }

    /// A creation was tried, and ended as it was judged. A denied one leaves a namespace without a block.
    pub fn tried(&mut self, target: &Target, block_uuid: &str, judged: Judged) {
        let stream = of(&target.uuid);
        if let Some(facts) = facts::judgement(target, block_uuid, judged, self.configured) {
            // The hook is the kernel's own, and not libnvdimm's.
            self.tell(&stream, facts, true);
        }
        if let Judged::Exempt { id, once: true } = judged {
            self.grants.retain(|grant| grant.id != id);
            let facts = facts::exemption("exemption_spent", id);
            match self.watch {
                Watch::Agent => self.surely(&of_exemption(id), facts),
                _ => self.later.push((of_exemption(id), Expected::perhaps(facts))),
            }
        }
        if judged == Judged::Denied {
            return;
        }
        self.tell(&stream, facts::set_up(target, block_uuid, "made"), false);
        let (target, block_uuid, told) = (target.clone(), block_uuid.to_owned(), self.watch == Watch::Agent);
        self.namespaces.insert(target.uuid.clone(), Namespace { target, block_uuid, enabled: true, told });
    }

    /// A namespace was enabled.
    pub fn enabled(&mut self, uuid: &str) {
        let Some(namespace) = self.namespaces.get_mut(uuid) else { return };
        namespace.enabled = true;
        namespace.told |= self.watch == Watch::Agent;
        let facts = facts::set_up(&namespace.target, &namespace.block_uuid, "met");
        self.tell(&of(uuid), facts, false);
    }

    /// A namespace was disabled.
    pub fn disabled(&mut self, uuid: &str) {
        let Some(namespace) = self.namespaces.get_mut(uuid) else { return };
        if std::mem::take(&mut namespace.enabled) {
            self.tell(&of(uuid), facts::unbind(uuid), false);
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
            Watch::Held { deaf: false } => self.later.push((of(uuid), Expected::perhaps(facts))),
            _ => self.tell(&of(uuid), facts, false),
        }
    }

    /// An agent was started with this file, and guards.
    pub fn started(&mut self, file: Configured) {
        self.surely(AGENT, facts::agent("policy_loaded"));
        self.surely(AGENT, facts::ready("observing"));
        if self.watch == Watch::Nobody {
            self.mode = file.stance;
            self.grants.clear();
        } else {
            self.surely(AGENT, facts::taken_over(self.mode));
        }
        self.configured = file;
        self.watch = Watch::Agent;
        for namespace in self.namespaces.values_mut() {
            namespace.told = namespace.enabled && namespace.target.shape.is_map_dev();
        }
        let found: Vec<_> = self.namespaces.values().filter(|namespace| namespace.told).cloned().collect();
        for namespace in found {
            self.surely(&of(&namespace.target.uuid), facts::found(&namespace.target, &namespace.block_uuid));
        }
        for (stream, expected) in std::mem::take(&mut self.later) {
            self.streams.expect(&stream, expected);
        }
    }

    /// The agent was asked to end, and did.
    pub fn stopped(&mut self) {
        self.surely(AGENT, facts::stopped());
        self.left();
    }

    /// The agent was killed: what it had not told by then it may have had in its hands.
    pub fn killed(&mut self) {
        let doubted = self.streams.doubt();
        self.left();
        if self.watch != Watch::Nobody {
            self.later.extend(doubted);
        }
    }

    /// The guard that was held was released.
    pub fn released(&mut self) {
        self.watch = Watch::Nobody;
        self.grants.clear();
        self.later.clear();
    }

    /// The file was read anew.
    pub fn reloaded(&mut self, file: Configured) {
        if file.hold != self.configured.hold {
            self.surely(AGENT, facts::ready("observing"));
        }
        self.surely(AGENT, facts::agent("policy_loaded"));
        self.configured = file;
        self.mode = file.stance;
    }

    /// The mode was set.
    pub fn mode_set(&mut self, to: Stance) {
        self.surely(AGENT, facts::mode_changed(self.mode, to));
        self.mode = to;
    }

    /// An exemption was granted.
    pub fn granted(&mut self, grant: Grant) {
        self.surely(&of_exemption(grant.id), facts::exemption("exemption_granted", grant.id));
        self.grants.push(grant);
    }

    /// An exemption was withdrawn.
    pub fn revoked(&mut self, id: u64) {
        self.surely(&of_exemption(id), facts::exemption("exemption_ended", id));
        self.grants.retain(|grant| grant.id != id);
    }

    fn left(&mut self) {
        if self.configured.hold {
            self.watch = Watch::Held { deaf: false };
        } else {
            self.watch = Watch::Nobody;
            self.grants.clear();
        }
    }

    /// Somebody tells, now or later; where nobody watches, nobody will.
    fn tell(&mut self, stream: &str, facts: Facts, deaf_too: bool) {
        match self.watch {
            Watch::Agent => self.surely(stream, facts),
            Watch::Held { deaf } if !deaf || deaf_too => {
                self.later.push((stream.to_owned(), Expected::surely(facts)));
            }
            Watch::Held { .. } | Watch::Nobody => (),
        }
    }

    fn surely(&mut self, stream: &str, facts: Facts) {
        self.streams.expect(stream, Expected::surely(facts));
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

/// What an object of JSON holds.
fn object(value: Value) -> Facts {
    match value {
        Value::Object(facts) => facts,
        other => [("value".to_owned(), json!(other))].into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
