//! The agent's configuration, as a test wants it.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::webhook::Webhook;

pub const PATH: &str = "/run/pfnwatch.toml";

/// A reference size with which a sound kernel's reservations are oversize.
pub const SMALL_STRUCT_PAGE: u64 = 32;
/// The size of every kernel without the regression.
pub const STRUCT_PAGE: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GuardMode {
    Audit,
    Enforce,
}

impl GuardMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Policy {
    stance: GuardMode,
    reference_struct_page: u64,
    hold: bool,
    exemptions: Vec<String>,
    receiver: Option<SocketAddr>,
    max_store_bytes: Option<u64>,
}

impl Policy {
    /// The defaults: what a regressed kernel makes is oversize.
    pub const fn default_audit(stance: GuardMode) -> Self {
        Self {
            stance,
            reference_struct_page: STRUCT_PAGE,
            hold: false,
            exemptions: Vec::new(),
            receiver: None,
            max_store_bytes: None,
        }
    }

    /// The ideal is computed with half of what a sound kernel reserves for a page: its map=dev is oversize, unless the
    /// namespace is small (below 384 MiB).
    pub fn strict(stance: GuardMode) -> Self {
        Self { reference_struct_page: SMALL_STRUCT_PAGE, ..Self::default_audit(stance) }
    }

    pub const fn hold_on_exit(mut self) -> Self {
        self.hold = true;
        self
    }

    pub fn exempt_region(mut self, start: u64) -> Self {
        self.exemptions.push(format!("region_start = \"{start:#x}\""));
        self
    }

    pub fn exempt_set_cookie(mut self, cookie: &str) -> Self {
        self.exemptions.push(format!("region_set_cookie = \"{cookie}\""));
        self
    }

    pub fn exempt_namespace(mut self, uuid: &str) -> Self {
        self.exemptions.push(format!("namespace_uuid = \"{uuid}\""));
        self
    }

    pub fn report_to(mut self, hook: &Webhook) -> Self {
        self.receiver = Some(hook.address);
        self
    }

    pub const fn store_of(mut self, max_bytes: u64) -> Self {
        self.max_store_bytes = Some(max_bytes);
        self
    }

    pub fn write(&self) -> Result<()> {
        write(&self.text())
    }

    fn text(&self) -> String {
        let exit = if self.hold { "hold" } else { "release" };
        let guard = format!("[guard]\nmode = \"{}\"\non_agent_exit = \"{exit}\"\n", self.stance.as_str());
        let thresholds = format!("[thresholds]\nreference_struct_page_bytes = {}\n", self.reference_struct_page);
        let exemption = |what: &String| format!("[[exemptions]]\n{what}\nreason = \"a test wants it\"\n");
        let receiver = |address: SocketAddr| {
            format!("[[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://{address}/\"\n")
        };
        let receiver = self.receiver.map(receiver).unwrap_or_default();
        let store = self.max_store_bytes.map(|bytes| format!("[store]\nmax_size = \"{bytes}\"\n")).unwrap_or_default();
        guard + &thresholds + &store + &receiver + &self.exemptions.iter().map(exemption).collect::<String>()
    }
}

pub fn write(text: &str) -> Result<()> {
    fs::write(PATH, text).with_context(|| format!("cannot write {PATH}"))
}
