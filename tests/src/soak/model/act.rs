//! What can be done, and to what.

use crate::creation::{Map, Mode};
use crate::policy::{GuardMode, Policy};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub mode: Mode,
    pub map: Map,
    pub size_bytes: u64,
    pub align_bytes: u64,
}

impl Shape {
    pub fn is_map_dev(&self) -> bool {
        self.map == Map::Dev
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub uuid: String,
    pub region: usize,
    pub start: u64,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Configured {
    /// Whether the ideal is computed with half a sound kernel's struct page.
    pub strict: bool,
    pub stance: GuardMode,
    pub hold: bool,
}

impl Configured {
    pub fn policy(self) -> Policy {
        let policy = if self.strict { Policy::strict(self.stance) } else { Policy::default_audit(self.stance) };
        if self.hold { policy.hold_on_exit() } else { policy }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    Region(usize),
    Namespace(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub id: u64,
    pub subject: Subject,
    pub once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpectedDecision {
    Fine,
    WouldDeny,
    Denied,
    Exempt { id: u64, once: bool },
    Unjudged,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Create(usize, Shape),
    Disable(String),
    Enable(String),
    Destroy(String),
    /// Writes over its block and makes another one on it, as a reconfigure does; the size stays.
    Remake(String, Shape),
    SetMode(GuardMode),
    /// `pfnwatch allow`, once or for an hour.
    Allow(Subject, bool),
    Revoke(u64),
    Reload(Configured),
    Start(Configured),
    Stop,
    /// SIGKILL, with all reported before it, or in the middle of it.
    Kill {
        settled: bool,
    },
    Release,
    /// Switches kprobes off, sets the mode, withdraws the exemptions and makes this namespace beside the agent that is blind, and switches
    /// kprobes on again.
    BreakGlass(GuardMode, Option<(usize, Shape)>),
    /// Unloads libnvdimm with all that uses it, and loads it again.
    ReloadLibnvdimm,
    /// Hundreds of nodes that do not concern the guard.
    Storm,
}

impl Act {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Create(..) => "create",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Destroy(_) => "destroy",
            Self::Remake(..) => "remake",
            Self::SetMode(_) => "mode",
            Self::Allow(..) => "allow",
            Self::Revoke(_) => "revoke",
            Self::Reload(_) => "SIGHUP",
            Self::Start(_) => "start",
            Self::Stop => "SIGTERM",
            Self::Kill { .. } => "SIGKILL",
            Self::Release => "release",
            Self::BreakGlass(..) => "break-glass",
            Self::ReloadLibnvdimm => "libnvdimm",
            Self::Storm => "storm",
        }
    }
}
