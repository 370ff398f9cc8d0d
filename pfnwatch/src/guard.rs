//! The agent's side of the guard: what it is to judge by, and whether it does.

mod adopt;
mod exemptions;
pub mod info_block_cache;
mod namespace_blocks;
pub mod self_test;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use pfnwatch_common::guard::NamespacePlace;

use self::exemptions::Exemptions;
pub use self::self_test::SelfTest;
use crate::{
    bpf::{guard::GuardMaps, takeover::OnExit},
    model::{
        event::{Body, Event, ExemptionChange, GuardState, GuardTransfer, PolicyLoaded, Time},
        inventory::Inventory,
        kernel::{COMPAT_ALIGN, KernelFacts},
        policy::{Exemption, ExemptionSubject, Grant, Mode, OnAgentExit, Policy, RegionFacts},
    },
    os::clock::since_boot,
    policy::{Clock, Compiled, PolicyKernel, SkipReason, compile},
};

/// The guard as the agent has it: the policy, what the policy is compiled with, and whether the program in the kernel uses it.
pub struct Guard {
    /// The configuration's policy, with the mode in force.
    policy: Policy,
    exemptions: Exemptions,
    kernel: PolicyKernel,
    regions: Vec<RegionFacts>,
    /// Whether a namespace was destroyed of whose place something may still be known.
    has_destroyed: bool,
    clock: Clock,
    maps: Option<GuardMaps>,
    off_reason: Option<String>,
    /// Whether the info blocks in the maps are from an earlier load of the programs, and from this load of libnvdimm.
    is_adopted: bool,
    armed: bool,
    /// The number of the policy in force.
    number: u64,
    self_test: Result<SelfTest, String>,
    /// The state that was reported last.
    reported: Option<GuardState>,
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
            exemptions: Exemptions::default(),
            kernel: PolicyKernel {
                max_struct_page: None,
                page_size: facts.page_size,
                compat: COMPAT_ALIGN,
                module_epoch: 0,
            },
            regions: Vec::new(),
            has_destroyed: false,
            clock: Clock::start(wall, boot_ns),
            maps: None,
            off_reason: Some("libnvdimm is not loaded".to_owned()),
            is_adopted: false,
            armed: false,
            number: 0,
            self_test: Err("it was not tried yet".to_owned()),
            reported: None,
        })
    }

    /// The programs are in the kernel. `off`: why the guard's is not among them. `shared`: the maps are those of an earlier load,
    /// and contain its policy: the guard uses that until it is armed. With new maps it judges nothing until then.
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
            for grant in self.exemptions.grants().iter().filter(|grant| grant.once) {
                maps.create_ticket(grant.id)?;
            }
        }
        self.off_reason = off;
        self.maps = Some(maps);
        Ok(())
    }

    /// Continues with the mode and the grants of the guard that these maps come from.
    fn adopt(&mut self, maps: &mut GuardMaps) -> anyhow::Result<()> {
        let snapshot = maps.snapshot()?;
        self.number = maps.number()?;
        self.is_adopted = snapshot.armed != 0 && snapshot.module_epoch == self.kernel.module_epoch;
        if !self.is_adopted {
            // They belong to another libnvdimm.
            maps.forget(maps.known_places());
        }
        // Nobody has followed what was destroyed meanwhile.
        self.has_destroyed = true;
        if self.number == 0 {
            return Ok(());
        }
        self.policy.mode = if snapshot.mode == Mode::Enforce as u32 { Mode::Enforce } else { Mode::Audit };
        adopt::grants(&snapshot)
            .filter(|grant| !grant.once || maps.is_unspent(grant.id))
            .for_each(|grant| self.exemptions.adopt(grant));
        Ok(())
    }

    /// The programs are gone.
    pub fn detached(&mut self, reason: &str) {
        if let Some(maps) = self.maps.take() {
            self.exemptions.retain_unspent(|id| maps.is_unspent(id));
        }
        self.armed = false;
        self.off_reason = Some(reason.to_owned());
        self.self_test = Err(reason.to_owned());
    }

    /// Records the regions and the info blocks that there are, before the guard is armed.
    ///
    /// # Errors
    /// What is known of a namespace cannot be handed over: then the guard must not be armed.
    pub fn add_inventory(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        let Some(maps) = &mut self.maps else { return Ok(()) };
        let mut without_room = 0;
        for (place, block) in inventory.namespaces.iter().filter_map(namespace_blocks::block) {
            without_room += usize::from(!maps.add_known_block(place, block)?);
        }
        if without_room > 0 {
            tracing::warn!(
                "the guard has no room for {without_room} namespaces, and allows what is created on them: --known-blocks makes room"
            );
        }
        Ok(())
    }

    /// Forgets the namespaces that are no longer there. `present` reads those that are: their regions and first addresses.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn forget_destroyed(&mut self, present: impl FnOnce() -> io::Result<Vec<(String, u64)>>) -> anyhow::Result<()> {
        let Some(maps) = self.maps.as_mut().filter(|_| self.has_destroyed) else { return Ok(()) };
        // Before the namespaces: what is made meanwhile is not forgotten.
        let known = maps.known_places();
        let present = present().context("the namespaces cannot be read")?;
        let present: BTreeSet<NamespacePlace> =
            present.iter().filter_map(|(region, start)| namespace_blocks::place(region, *start)).collect();
        maps.forget(known.into_iter().filter(|place| !present.contains(place)));
        self.has_destroyed = false;
        Ok(())
    }

    /// Whether an exemption names a region that was not found, and this physical address, if known, is in no region that was.
    #[must_use]
    pub fn has_unresolved_region(&self, start: Option<u64>) -> bool {
        let is_found =
            |start| self.regions.iter().any(|it| it.start <= start && it.last().is_some_and(|last| start <= last));
        self.exemptions.has_unresolved() && !start.is_some_and(is_found)
    }

    /// Whether this is a region that was not found.
    #[must_use]
    pub fn is_unknown_region(&self, subject: ExemptionSubject) -> bool {
        let is_region = matches!(subject, ExemptionSubject::RegionCookie(_) | ExemptionSubject::RegionStart(_));
        is_region && !self.regions.iter().any(|region| region.is(subject))
    }

    /// Regions appeared after the initial scan: exemptions for them are in force from now on.
    ///
    /// # Errors
    /// The kernel rejects the policy: the guard uses the earlier one.
    pub fn update_regions(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.regions = inventory.regions.iter().filter_map(RegionFacts::of).collect();
        if self.armed { self.publish() } else { Ok(()) }
    }

    /// The inventory is recorded: from now on the guard judges.
    ///
    /// # Errors
    /// The kernel rejects the policy.
    pub fn arm(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        self.armed = self.maps.is_some();
        self.publish()
    }

    /// The kernel's MAX_STRUCT_PAGE_SIZE in bytes, or `None` if it is unknown by now.
    ///
    /// # Errors
    /// The kernel rejects the policy: the guard uses the earlier one.
    pub fn set_struct_page_size(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.kernel.max_struct_page = max_struct_page;
        if self.armed { self.publish() } else { Ok(()) }
    }

    /// Replaces the policy, as a whole or not at all.
    ///
    /// # Errors
    /// The kernel rejects it: the earlier one stays in force.
    pub fn replace(&mut self, policy: Policy) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut self.policy, policy);
        self.publish().inspect_err(|_| self.policy = before)
    }

    /// Changes the mode, and returns the earlier one.
    ///
    /// # Errors
    /// The kernel rejects it: the earlier one stays in force.
    pub fn change_mode(&mut self, mode: Mode) -> anyhow::Result<Mode> {
        let before = std::mem::replace(&mut self.policy.mode, mode);
        self.publish().inspect_err(|_| self.policy.mode = before)?;
        Ok(before)
    }

    /// Grants an exemption; it is in force when this returns.
    ///
    /// # Errors
    /// There is no room for it, the region is not there, or the kernel rejects it: nothing has changed then.
    pub fn grant(
        &mut self,
        subject: ExemptionSubject,
        once: bool,
        duration: Option<Duration>,
        reason: String,
        by: String,
    ) -> anyhow::Result<Grant> {
        let (_, boot_ns) = now()?;
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1);
        let until_boot_ns = duration.map(|duration| boot_ns.saturating_add(nanoseconds(duration)));
        let id = self.exemptions.next_id(boot_ns);
        let grant = Grant { id, subject, until_boot_ns, once, reason, by };
        // The ticket first: a snapshot that names one that is not there yet would deny.
        if once && let Some(maps) = &mut self.maps {
            maps.create_ticket(id)?;
        }
        self.exemptions.add(grant.clone());
        match (self.publish(), self.exemptions.skip_reason(id)) {
            (Ok(()), None) => Ok(grant),
            (published, skipped) => {
                self.remove(id)?;
                published?;
                let reason = skipped.map(|reason| reason.to_string()).unwrap_or_default();
                anyhow::bail!("{subject} cannot be exempted: {reason}")
            }
        }
    }

    /// Withdraws an exemption; `None` if there is none with that number.
    ///
    /// # Errors
    /// The kernel rejects the policy without it: it may still be in force.
    pub fn revoke(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        self.remove(id)
    }

    /// Removes the grants that have expired, and returns them. The guard's program has not used them since.
    ///
    /// # Errors
    /// The kernel rejects the policy without them.
    pub fn expire(&mut self) -> anyhow::Result<Vec<Grant>> {
        let (_, boot_ns) = now()?;
        let expired = self.exemptions.take_expired(boot_ns);
        if !expired.is_empty() || self.has_configured_expired() {
            self.publish()?;
        }
        Ok(expired)
    }

    fn has_configured_expired(&mut self) -> bool {
        let Ok((wall, boot_ns)) = now() else { return false };
        self.clock.follow(wall, boot_ns);
        self.exemptions.has_configured_expired(&self.policy, self.clock.wall())
    }

    fn remove(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        let Some(grant) = self.exemptions.remove(id) else { return Ok(None) };
        if let (true, Some(maps)) = (grant.once, &mut self.maps) {
            maps.remove_ticket(id);
        }
        self.publish()?;
        Ok(Some(grant))
    }

    /// Applies an event: a destroyed namespace, or a creation that an exemption allowed. Returns the grant for one creation that it
    /// used.
    ///
    /// # Errors
    /// The kernel rejects the policy without that grant. It is used all the same.
    pub fn follow(&mut self, event: &Event) -> anyhow::Result<Option<Grant>> {
        self.has_destroyed |= matches!(event.body, Body::Destroy(_));
        match event.guard_decision().and_then(|decision| decision.exemption.as_ref()) {
            Some(used) if self.exemptions.is_one_shot(used.id) => self.remove(used.id),
            _ => Ok(None),
        }
    }

    /// Adds the subject and the reason of the exemption that an event names.
    pub fn annotate(&self, event: &mut Event) {
        let Some(used) = event.guard_decision_mut().and_then(|decision| decision.exemption.as_mut()) else { return };
        let granted = self.grants().iter().map(|it| (it.id, it.subject, &it.reason));
        let configured = self.in_configuration().map(|(id, it)| (id, it.subject, &it.reason));
        let exemption = granted.chain(configured).find(|(id, ..)| *id == used.id);
        // Of one that is withdrawn by now the description is left.
        used.subject = exemption
            .map(|(_, subject, _)| subject.to_string())
            .or_else(|| self.exemptions.description(used.id).map(str::to_owned));
        used.reason = exemption.map(|(.., reason)| reason.clone());
    }

    /// A grant as events have it.
    #[must_use]
    pub fn exemption_change(&self, grant: &Grant) -> ExemptionChange {
        ExemptionChange {
            id: grant.id,
            subject: grant.subject.to_string(),
            reason: grant.reason.clone(),
            once: grant.once,
            by: None,
            until: grant.until_boot_ns.and_then(|until| self.wall_time(until)).map(Time),
        }
    }

    /// Records the result of a self-test.
    pub fn set_self_test(&mut self, result: anyhow::Result<SelfTest>) {
        self.self_test = result.map_err(|error| format!("{error:#}"));
    }

    /// The last self-test, if it succeeded.
    #[must_use]
    pub fn self_test(&self) -> Option<&SelfTest> {
        self.self_test.as_ref().ok()
    }

    /// Whether the program is attached.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.maps.is_some() && self.off_reason.is_none()
    }

    /// Whether the inventory is recorded.
    #[must_use]
    pub const fn has_inventory(&self) -> bool {
        self.armed
    }

    /// Whether the guard judges creations.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        self.is_attached() && self.armed && self.kernel.max_struct_page.is_some()
    }

    /// Why a denial would not be effective; `None` if it would.
    #[must_use]
    pub fn ineffective_reason(&self) -> Option<String> {
        self.off_reason.clone().or_else(|| self.self_test.as_ref().err().cloned())
    }

    /// Why the guard does not judge; `None` if it does.
    #[must_use]
    pub fn not_armed_reason(&self) -> Option<String> {
        if let Some(off) = &self.off_reason {
            return Some(off.clone());
        }
        if !self.armed {
            return Some("what info blocks there are is not known yet".to_owned());
        }
        let unknown = "what this kernel reserves for each page (MAX_STRUCT_PAGE_SIZE) is not known";
        self.kernel.max_struct_page.is_none().then(|| unknown.to_owned())
    }

    /// The guard's state, if it is not the one that this returned last.
    pub fn state_change(&mut self, pins: Vec<String>) -> Option<GuardState> {
        let is_held = self.is_attached() && self.policy.on_agent_exit == OnAgentExit::Hold;
        let lost = (is_held && pins.is_empty())
            .then(|| "its pins are gone: the guard ends with the agent, or with its next start".to_owned());
        let state = GuardState {
            mode: self.policy.mode,
            attached: self.is_attached(),
            armed: self.is_armed(),
            enforcement_effective: self.ineffective_reason().is_none(),
            reason: self.ineffective_reason().or_else(|| self.not_armed_reason()).or(lost),
            pins,
        };
        (self.reported.as_ref() != Some(&state)).then(|| self.reported.insert(state).clone())
    }

    /// The report that this guard was taken over from an earlier agent. `configured`: the mode of the configuration.
    #[must_use]
    pub fn taken_over(&self, configured: Mode, pins: Vec<String>) -> GuardTransfer {
        let mode = self.policy.mode;
        let granted = match self.grants().len() {
            0 => String::new(),
            count => format!("; {count} exemptions that were granted by hand stay in force"),
        };
        let detail = if mode == configured {
            format!("it guarded on without an agent{granted}")
        } else {
            format!(
                "it guarded on without an agent, and its mode stays in force, not the configuration's ({configured}): `pfnwatch mode` \
                 changes it, or a reload of the configuration{granted}"
            )
        };
        GuardTransfer { mode, pins, by: None, detail: Some(detail) }
    }

    /// The report of the policy in force. `file`: where it comes from.
    #[must_use]
    pub fn policy_loaded(&self, file: Option<String>) -> PolicyLoaded {
        PolicyLoaded { file, number: self.number, by: None, explanation: self.policy.describe() }
    }

    /// What becomes of the programs when the agent ends.
    #[must_use]
    pub const fn on_exit(&self) -> OnExit {
        match self.policy.on_agent_exit {
            OnAgentExit::Release => OnExit::Detach,
            OnAgentExit::Hold => OnExit::Pinned,
        }
    }

    /// The policy, with the mode in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The number of the policy in force.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The exemptions that were granted while an agent ran, and are in force.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        self.exemptions.grants()
    }

    /// The exemptions of the configuration that have not ended, with their numbers.
    pub fn in_configuration(&self) -> impl Iterator<Item = (u64, &Exemption)> {
        self.exemptions.configured(&self.policy)
    }

    /// The exemptions of the configuration that are not in force, or not on all that they name, and why.
    pub fn skipped_in_configuration(&self) -> impl Iterator<Item = (&Exemption, SkipReason)> {
        self.in_configuration().filter_map(|(id, exemption)| Some((exemption, self.exemptions.skip_reason(id)?)))
    }

    /// How many descriptions of exemptions were evicted because there were too many.
    #[must_use]
    pub const fn evicted_descriptions(&self) -> u64 {
        self.exemptions.evicted_descriptions()
    }

    /// The wall-clock time of a point of time since boot.
    #[must_use]
    pub fn wall_time(&self, boot_ns: u64) -> Option<SystemTime> {
        let ahead = Duration::from_nanos(boot_ns.saturating_sub(self.clock.boot_ns()));
        self.clock.wall().checked_add(ahead)
    }

    /// How long it is until a point of time since boot, in nanoseconds; 0 if it has passed.
    #[must_use]
    pub fn remaining_ns(&self, boot_ns: u64) -> u64 {
        now().map_or(0, |(_, now)| boot_ns.saturating_sub(now))
    }

    /// Compiles the policy with all that is known by now, and puts it in force.
    fn publish(&mut self) -> anyhow::Result<()> {
        let (wall, boot_ns) = now()?;
        self.clock.follow(wall, boot_ns);
        let Compiled { snapshot, configured, descriptions, skipped } =
            compile(&self.policy, self.grants(), &self.kernel, &self.regions, &self.clock, self.armed);
        if let Some(maps) = &mut self.maps {
            self.number = maps.publish(&snapshot)?;
        }
        self.exemptions.on_compiled(configured, descriptions, skipped);
        Ok(())
    }
}

/// The wall clock first, see [`Clock::start`].
fn now() -> anyhow::Result<(SystemTime, u64)> {
    let wall = SystemTime::now();
    let boot_ns = u64::try_from(since_boot()?.as_nanos()).unwrap_or(u64::MAX);
    Ok((wall, boot_ns))
}
