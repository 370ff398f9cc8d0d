//! The agent's side of the guard: what it is to judge by, and whether it does.

mod adopt;
mod exemptions;
pub mod info_block_cache;
mod namespace_blocks;
pub mod self_test;
mod state;

use pfnwatch_common::KernelQuirks;
use std::{collections::BTreeMap, time::SystemTime};

use pfnwatch_common::guard::UNKNOWN_BLOCK;

use crate::{
    bpf::guard::GuardMaps,
    model::{
        inventory::Inventory,
        kernel::{COMPAT_ALIGN, KernelFacts},
        policy::{ExemptionSubject, Grant, Mode, Policy, RegionFacts},
    },
    os::clock::since_boot,
    policy::{Clock, Compiled, PolicyKernel, SkipReason, SkippedExemption, compile},
};

pub use self::self_test::SelfTest;

/// The guard as the agent has it.
pub struct Guard {
    /// What the configuration says, with the mode in force.
    policy: Policy,
    grants: Vec<Grant>,
    last_grant: u64,
    kernel: PolicyKernel,
    regions: Vec<RegionFacts>,
    unknown_blocks: BTreeMap<String, u64>,
    clock: Clock,
    maps: Option<GuardMaps>,
    off_reason: Option<String>,
    /// Whether what the guard knows of blocks is from a load before, and good for this libnvdimm.
    is_adopted: bool,
    armed: bool,
    number: u64,
    configured: Vec<u64>,
    descriptions: BTreeMap<u64, String>,
    skipped: Vec<SkippedExemption>,
    self_test: Result<SelfTest, String>,
    reported: Option<crate::model::event::GuardState>,
}

impl Guard {
    /// A guard that is not attached yet.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn new(policy: Policy, facts: &KernelFacts, quirks: KernelQuirks) -> anyhow::Result<Self> {
        let (wall, boot_ns) = now()?;
        Ok(Self {
            policy,
            grants: Vec::new(),
            last_grant: 0,
            kernel: PolicyKernel {
                max_struct_page: None,
                page_size: facts.page_size,
                compat: COMPAT_ALIGN,
                quirks,
                module_epoch: 0,
            },
            regions: Vec::new(),
            unknown_blocks: BTreeMap::new(),
            clock: Clock::start(wall, boot_ns),
            maps: None,
            off_reason: Some("libnvdimm is not loaded".to_owned()),
            is_adopted: false,
            armed: false,
            number: 0,
            configured: Vec::new(),
            descriptions: BTreeMap::new(),
            skipped: Vec::new(),
            self_test: Err("it was not tried yet".to_owned()),
            reported: None,
        })
    }

    /// The programs are in the kernel. `off`: why the guard's is not among them. `shared`: the maps are those of a load
    /// before, which has left what it was told in them. It judges nothing before it is armed, or goes on as it did.
    ///
    /// # Errors
    /// The kernel does not let its maps be used.
    pub fn attached(&mut self, mut maps: GuardMaps, shared: bool, off: Option<String>) -> anyhow::Result<()> {
        // Before anything is asked of this libnvdimm: what is found out from now on is good for this one or a later.
        self.kernel.module_epoch = maps.module_epoch()?;
        self.kernel.max_struct_page = None;
        self.is_adopted = false;
        if shared {
            self.adopt(&mut maps)?;
        } else {
            for grant in self.grants.iter().filter(|grant| grant.once) {
                maps.create_ticket(grant.id)?;
            }
        }
        self.off_reason = off;
        self.maps = Some(maps);
        Ok(())
    }

    /// The programs are gone.
    pub fn detached(&mut self, why: &str) {
        if let Some(maps) = self.maps.take() {
            self.grants.retain(|grant| !grant.once || maps.is_unspent(grant.id));
        }
        self.armed = false;
        self.off_reason = Some(why.to_owned());
        self.self_test = Err(why.to_owned());
    }

    /// Takes note of what there is, before it is armed.
    ///
    /// # Errors
    /// There is no room for what is known: then it must not be armed.
    pub fn add_inventory(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        self.unknown_blocks.clear();
        let Some(maps) = &mut self.maps else { return Ok(()) };
        for namespace in &inventory.namespaces {
            let Some((start, block)) = namespace_blocks::block(namespace) else { continue };
            // A guard that held on has seen all that happened since the agent before looked.
            if !(self.is_adopted && block == UNKNOWN_BLOCK) {
                maps.add_known_block(start, block)?;
            }
            if maps.is_unknown(start) {
                self.unknown_blocks.insert(namespace.name.clone(), start);
            }
        }
        Ok(())
    }

    /// Whether an exemption names a region that is not there, and this physical address, where it is known, is in none that is.
    #[must_use]
    pub fn has_unresolved_region(&self, start: Option<u64>) -> bool {
        let known =
            |start| self.regions.iter().any(|it| it.start <= start && it.last().is_some_and(|last| start <= last));
        self.skipped.iter().any(|left_out| left_out.reason == SkipReason::Unresolved) && !start.is_some_and(known)
    }

    /// Whether this is a region that is not known to be there.
    #[must_use]
    pub fn is_unknown_region(&self, subject: ExemptionSubject) -> bool {
        let is_region = matches!(subject, ExemptionSubject::RegionCookie(_) | ExemptionSubject::RegionStart(_));
        is_region && !self.regions.iter().any(|region| region.is(subject))
    }

    /// Regions came after the survey: what is exempted there counts from now on.
    ///
    /// # Errors
    /// The kernel refuses it: it judges by the regions that were known before.
    pub fn update_regions(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        if self.armed { self.publish() } else { Ok(()) }
    }

    /// Everything is known that can be: from now on it judges.
    ///
    /// # Errors
    /// The kernel refuses the policy.
    pub fn arm(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        self.armed = self.maps.is_some();
        self.publish()
    }

    /// What the kernel reserves for each page is known better, or not any more.
    ///
    /// # Errors
    /// The kernel refuses it: it judges by what was known before.
    pub fn set_struct_page_size(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        if self.armed { self.publish() } else { Ok(()) }
    }

    /// Another policy, all of it or nothing.
    ///
    /// # Errors
    /// The kernel refuses it: the one before stays in force.
    pub fn replace(&mut self, policy: Policy) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut self.policy, policy);
        self.publish().inspect_err(|_| self.policy = before)
    }

    /// Another mode.
    ///
    /// # Errors
    /// The kernel refuses it: the one before stays in force.
    pub fn change_mode(&mut self, mode: Mode) -> anyhow::Result<Mode> {
        let before = std::mem::replace(&mut self.policy.mode, mode);
        self.publish().inspect_err(|_| self.policy.mode = before)?;
        Ok(before)
    }

    /// The namespace was destroyed: what block there may be on it does not matter any more.
    pub fn destroyed(&mut self, namespace: &str) {
        if let (Some(start), Some(maps)) = (self.unknown_blocks.remove(namespace), &mut self.maps)
            && let Err(error) = maps.clear_unknown(start)
        {
            tracing::warn!("{error:#}: the guard lets a creation on {namespace} pass");
        }
    }

    /// The policy, with the mode in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The number of what the guard judges by.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        let (wall, boot_ns) = now()?;
        self.clock.follow(wall, boot_ns);
        let Compiled { snapshot, configured, descriptions: words, skipped: left_out } =
            compile(&self.policy, &self.grants, &self.kernel, &self.regions, &self.clock, self.armed);
        if let Some(maps) = &mut self.maps {
            self.number = maps.publish(&snapshot)?;
        }
        // Kept beside those before: an event may still be on its way that names one of them.
        self.descriptions.extend(words);
        self.configured = configured;
        self.skipped = left_out;
        Ok(())
    }
}

/// The wall clock first, see [`Clock::start`].
fn now() -> anyhow::Result<(SystemTime, u64)> {
    let wall = SystemTime::now();
    let boot_ns = u64::try_from(since_boot()?.as_nanos()).unwrap_or(u64::MAX);
    Ok((wall, boot_ns))
}
