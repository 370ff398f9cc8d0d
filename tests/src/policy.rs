//! The agent's configuration, as a test wants it.

use std::fs;

use anyhow::{Context, Result};

/// Where the configuration lies in the guest.
pub const PATH: &str = "/run/pfnwatch.toml";

/// What the ideal is computed with where a test wants a sound kernel's reservations to be oversize.
pub const SMALL_STRUCT_PAGE: u64 = 32;
/// What every kernel without the regression uses.
pub const STRUCT_PAGE: u64 = 64;

/// What the guard does about an oversize creation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GuardMode {
    /// Lets it pass, and reports it.
    Audit,
    /// Denies it.
    Enforce,
}

impl GuardMode {
    /// As configuration and command line have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

/// A configuration to be written.
#[derive(Clone, Debug)]
pub struct Policy {
    stance: GuardMode,
    reference_struct_page: u64,
    hold: bool,
    exemptions: Vec<String>,
}

impl Policy {
    /// The defaults: what a regressed kernel makes is oversize.
    pub const fn default_audit(stance: GuardMode) -> Self {
        Self { stance, reference_struct_page: STRUCT_PAGE, hold: false, exemptions: Vec::new() }
    }

    /// The ideal is computed with half of what a sound kernel reserves for a page: what that makes with map=dev is
    /// oversize, if it is not small (384 MiB and more).
    pub fn strict(stance: GuardMode) -> Self {
        Self { reference_struct_page: SMALL_STRUCT_PAGE, ..Self::default_audit(stance) }
    }

    /// The guard stays when the agent goes.
    pub const fn hold_on_exit(mut self) -> Self {
        self.hold = true;
        self
    }

    /// Exempts what lies in the region that starts at this address.
    pub fn exempt_region(mut self, start: u64) -> Self {
        self.exemptions.push(format!("region_start = \"{start:#x}\""));
        self
    }

    /// Exempts the namespace with this namespace uuid.
    pub fn exempt_namespace(mut self, uuid: &str) -> Self {
        self.exemptions.push(format!("namespace_uuid = \"{uuid}\""));
        self
    }

    /// Writes it to [`PATH`].
    pub fn write(&self) -> Result<()> {
        write(&self.text())
    }

    fn text(&self) -> String {
        let exit = if self.hold { "hold" } else { "release" };
        let guard = format!("[guard]\nmode = \"{}\"\non_agent_exit = \"{exit}\"\n", self.stance.as_str());
        let thresholds = format!("[thresholds]\nreference_struct_page_bytes = {}\n", self.reference_struct_page);
        let exemption = |what: &String| format!("[[exemptions]]\n{what}\nreason = \"a test wants it\"\n");
        guard + &thresholds + &self.exemptions.iter().map(exemption).collect::<String>()
    }
}

/// Writes any text to [`PATH`].
pub fn write(text: &str) -> Result<()> {
    fs::write(PATH, text).with_context(|| format!("cannot write {PATH}"))
}
