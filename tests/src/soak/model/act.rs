//! What can be done, and to what.

use crate::creation::{Map, Mode};
use crate::policy::{GuardMode, Policy};

/// What a namespace is to be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// fsdax or devdax.
    pub mode: Mode,
    /// dev or mem.
    pub map: Map,
    /// The namespace's whole size.
    pub size_bytes: u64,
    /// The alignment of what is usable.
    pub align_bytes: u64,
}

impl Shape {
    /// Whether its memmap lives on itself.
    pub fn is_map_dev(&self) -> bool {
        self.map == Map::Dev
    }
}

/// A namespace that a block is to be made on.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its namespace uuid.
    pub uuid: String,
    /// Which of the machine's regions.
    pub region: usize,
    /// Physical address of its first byte.
    pub start: u64,
    /// What it is to be like.
    pub shape: Shape,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Configured {
    /// Whether the ideal is computed with half a sound kernel's struct page.
    pub strict: bool,
    /// The mode.
    pub stance: GuardMode,
    /// Whether the guard stays when the agent goes.
    pub hold: bool,
}

impl Configured {
    /// As a file.
    pub fn policy(self) -> Policy {
        let policy = if self.strict { Policy::strict(self.stance) } else { Policy::default_audit(self.stance) };
        if self.hold { policy.hold_on_exit() } else { policy }
    }
}

/// What an exemption is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Whatever is made in one of the machine's regions.
    Region(usize),
    /// What is made on the namespace with this namespace uuid.
    Namespace(String),
}

/// An exemption that was granted by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The agent's number for it.
    pub id: u64,
    /// What for.
    pub subject: Subject,
    /// Whether it is good for one creation.
    pub once: bool,
}

/// What becomes of a creation, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpectedDecision {
    /// It passes without a word.
    Fine,
    /// It passes, and is told.
    WouldDeny,
    /// It is denied, and told.
    Denied,
    /// It passes by an exemption.
    Exempt {
        /// The exemption's number.
        id: u64,
        /// Whether that is spent now.
        once: bool,
    },
    /// It passes, and is told: nothing is known of this libnvdimm.
    Unjudged,
}

/// One act.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Makes a namespace in a region.
    Create(usize, Shape),
    /// Disables the one with this uuid.
    Disable(String),
    /// Enables it.
    Enable(String),
    /// Destroys it.
    Destroy(String),
    /// Writes over its block and makes another one on it, as a reconfigure does; the size stays.
    Remake(String, Shape),
    /// `pfnwatch mode`
    SetMode(GuardMode),
    /// `pfnwatch allow`, once or for an hour.
    Allow(Subject, bool),
    /// `pfnwatch allow --revoke`
    Revoke(u64),
    /// Another file, and SIGHUP.
    Reload(Configured),
    /// Starts an agent with this file.
    Start(Configured),
    /// SIGTERM.
    Stop,
    /// SIGKILL, with all told before it, or amid of it.
    Kill {
        /// Whether all is told before it.
        settled: bool,
    },
    /// `pfnwatch guard release`
    Release,
    /// Unloads libnvdimm with all that uses it, and loads it again.
    ReloadLibnvdimm,
    /// Nodes by the hundred that are nobody's business.
    Storm,
}

impl Act {
    /// Its kind, for counting.
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
            Self::ReloadLibnvdimm => "libnvdimm",
            Self::Storm => "storm",
        }
    }
}
