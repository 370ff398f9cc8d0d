//! The agent's side of the guard: what it is to judge by, and whether it does.

mod adopt;
mod exemptions;
mod known;
pub mod proof;
mod state;

use std::{collections::BTreeMap, time::SystemTime};

use pfnwatch_common::guard::UNSEEN;

use crate::{
    bpf::guard::GuardMaps,
    inventory::Inventory,
    kernel::{KernelFacts, boot::since_boot, rule},
    policy::{Clock, Compiled, Grant, Kernel, LeftOut, Mode, Policy, RegionFacts, Subject, Why, compile},
    survey::COMPAT_ALIGN,
};

pub use self::proof::Proof;

/// The guard as the agent has it.
pub struct Guard {
    /// What the configuration says, with the mode in force.
    policy: Policy,
    grants: Vec<Grant>,
    last_grant: u64,
    kernel: Kernel,
    regions: Vec<RegionFacts>,
    unseen: BTreeMap<String, u64>,
    clock: Clock,
    maps: Option<GuardMaps>,
    off: Option<String>,
    /// Whether what the guard knows of blocks is from a load before, and good for this libnvdimm.
    continues: bool,
    armed: bool,
    number: u64,
    configured: Vec<u64>,
    words: BTreeMap<u64, String>,
    left_out: Vec<LeftOut>,
    proof: Result<Proof, String>,
    told: Option<crate::event::GuardState>,
}

impl Guard {
    /// A guard that is not attached yet.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn new(policy: Policy, facts: &KernelFacts) -> anyhow::Result<Self> {
        let (wall, boot_ns) = now()?;
        Ok(Self {
            policy,
            grants: Vec::new(),
            last_grant: 0,
            kernel: Kernel {
                max_struct_page: None,
                page_size: facts.page_size,
                compat: COMPAT_ALIGN,
                rule: rule::of_release(&facts.release),
                module_epoch: 0,
            },
            regions: Vec::new(),
            unseen: BTreeMap::new(),
            clock: Clock::start(wall, boot_ns),
            maps: None,
            off: Some("libnvdimm is not loaded".to_owned()),
            continues: false,
            armed: false,
            number: 0,
            configured: Vec::new(),
            words: BTreeMap::new(),
            left_out: Vec::new(),
            proof: Err("it was not tried yet".to_owned()),
            told: None,
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
        self.continues = false;
        if shared {
            self.adopt(&mut maps)?;
        } else {
            for grant in self.grants.iter().filter(|grant| grant.once) {
                maps.issue(grant.id)?;
            }
        }
        self.off = off;
        self.maps = Some(maps);
        Ok(())
    }

    /// The programs are gone.
    pub fn detached(&mut self, why: &str) {
        if let Some(maps) = self.maps.take() {
            self.grants.retain(|grant| !grant.once || maps.is_unspent(grant.id));
        }
        self.armed = false;
        self.off = Some(why.to_owned());
        self.proof = Err(why.to_owned());
    }

    /// Takes note of what there is, before it is armed.
    ///
    /// # Errors
    /// There is no room for what is known: then it must not be armed.
    pub fn survey(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        self.unseen.clear();
        let Some(maps) = &mut self.maps else { return Ok(()) };
        for namespace in &inventory.namespaces {
            let Some((start, block)) = known::block(namespace) else { continue };
            // A guard that held on has seen all that happened since the agent before looked.
            if !(self.continues && block == UNSEEN) {
                maps.know(start, block)?;
            }
            if maps.is_unseen(start) {
                self.unseen.insert(namespace.name.clone(), start);
            }
        }
        Ok(())
    }

    /// Whether an exemption names a region that is not there, and this physical address, where it is known, is in none that is.
    #[must_use]
    pub fn misses_region(&self, start: Option<u64>) -> bool {
        let known =
            |start| self.regions.iter().any(|it| it.start <= start && it.last().is_some_and(|last| start <= last));
        self.left_out.iter().any(|left_out| left_out.why == Why::Unresolved) && !start.is_some_and(known)
    }

    /// Whether this is a region that is not known to be there.
    #[must_use]
    pub fn lacks(&self, subject: Subject) -> bool {
        let is_region = matches!(subject, Subject::RegionCookie(_) | Subject::RegionStart(_));
        is_region && !self.regions.iter().any(|region| region.is(subject))
    }

    /// Regions came after the survey: what is exempted there counts from now on.
    ///
    /// # Errors
    /// The kernel refuses it: it judges by the regions that were known before.
    pub fn survey_regions(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        if self.armed { self.hand_over() } else { Ok(()) }
    }

    /// Everything is known that can be: from now on it judges.
    ///
    /// # Errors
    /// The kernel refuses the policy.
    pub fn arm(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        self.armed = self.maps.is_some();
        self.hand_over()
    }

    /// What the kernel reserves for each page is known better, or not any more.
    ///
    /// # Errors
    /// The kernel refuses it: it judges by what was known before.
    pub fn correct(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        if self.armed { self.hand_over() } else { Ok(()) }
    }

    /// Another policy, all of it or nothing.
    ///
    /// # Errors
    /// The kernel refuses it: the one before stays in force.
    pub fn replace(&mut self, policy: Policy) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut self.policy, policy);
        self.hand_over().inspect_err(|_| self.policy = before)
    }

    /// Another mode.
    ///
    /// # Errors
    /// The kernel refuses it: the one before stays in force.
    pub fn change_mode(&mut self, mode: Mode) -> anyhow::Result<Mode> {
        let before = std::mem::replace(&mut self.policy.mode, mode);
        self.hand_over().inspect_err(|_| self.policy.mode = before)?;
        Ok(before)
    }

    /// The namespace was destroyed: what block there may be on it does not matter any more.
    pub fn destroyed(&mut self, namespace: &str) {
        if let (Some(start), Some(maps)) = (self.unseen.remove(namespace), &mut self.maps)
            && let Err(error) = maps.seen(start)
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

    fn hand_over(&mut self) -> anyhow::Result<()> {
        let (wall, boot_ns) = now()?;
        self.clock.follow(wall, boot_ns);
        let Compiled { snapshot, configured, words, left_out } =
            compile(&self.policy, &self.grants, &self.kernel, &self.regions, &self.clock, self.armed);
        if let Some(maps) = &mut self.maps {
            self.number = maps.hand_over(&snapshot)?;
        }
        // Kept beside those before: an event may still be on its way that names one of them.
        self.words.extend(words);
        self.configured = configured;
        self.left_out = left_out;
        Ok(())
    }
}

/// The wall clock first, see [`Clock::start`].
fn now() -> anyhow::Result<(SystemTime, u64)> {
    let wall = SystemTime::now();
    let boot_ns = u64::try_from(since_boot()?.as_nanos()).unwrap_or(u64::MAX);
    Ok((wall, boot_ns))
}
