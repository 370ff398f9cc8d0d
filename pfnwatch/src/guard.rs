//! The agent's side of the guard: what it is to judge by, and what of that the kernel has accepted.

mod adopt;
mod exemptions;
pub mod info_block_cache;
mod namespace_blocks;
pub mod self_test;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use pfnwatch_common::guard::{KnownBlock, NamespacePlace};
use pfnwatch_common::policy::Snapshot;

use self::exemptions::Exemptions;
pub use self::self_test::SelfTest;
use crate::bpf::guard::GuardTables;
use crate::bpf::takeover::OnExit;
use crate::model::event::{Body, Event, ExemptionChange, GuardTransfer, PolicyLoaded, Time};
use crate::model::inventory::Inventory;
use crate::model::kernel::{COMPAT_ALIGN, KernelFacts};
use crate::model::policy::{Exemption, ExemptionSubject, Grant, Mode, ModeSource, OnAgentExit, Policy, RegionFacts};
use crate::os;
use crate::policy::{Clock, Compiled, PolicyKernel, SkipReason, compile};

/// The guard as the agent has it. A choice is compiled and handed to the kernel first, and is remembered only if the kernel has accepted
/// it. Facts (regions, the kernel's constants, what has expired) are remembered at once, and handed over again if that fails.
pub struct Guard {
    wanted: Wanted,
    in_force: InForce,
    /// The maps of the guard that is attached or pinned; `None` if there is no guard in the kernel.
    tables: Option<Box<dyn GuardTables>>,
    /// Whether the info blocks in the maps are from an earlier load of the programs, and from this load of libnvdimm.
    is_adopted: bool,
    /// Whether this agent has had a guard in the kernel: what an earlier agent has left is adopted once.
    was_open: bool,
    /// How often each region was enabled before the inventory was read.
    region_epochs: Vec<u64>,
    /// Whether a namespace was destroyed of whose place something may still be known.
    has_destroyed: bool,
    /// What is known of places that had no namespace when that was looked at last.
    absent: BTreeMap<NamespacePlace, KnownBlock>,
    /// The names of the regions, by their start addresses.
    region_names: BTreeMap<u64, String>,
    host_clock: Rc<dyn os::clock::Clock>,
    clock: Clock,
}

/// What the policy is compiled from.
#[derive(Clone)]
struct Wanted {
    /// The configuration's policy, with the mode in force.
    policy: Policy,
    mode_source: ModeSource,
    configured_mode: Mode,
    exemptions: Exemptions,
    kernel: PolicyKernel,
    regions: Vec<RegionFacts>,
    /// Whether all known info blocks are in the maps.
    armed: bool,
}

/// What the kernel has accepted last.
#[derive(Clone, Copy, Default)]
struct InForce {
    number: u64,
    armed: bool,
    module_epoch: u64,
    knows_max_struct_page: bool,
}

impl InForce {
    const fn of(snapshot: &Snapshot, number: u64) -> Self {
        Self {
            number,
            armed: snapshot.armed != 0,
            module_epoch: snapshot.module_epoch,
            knows_max_struct_page: snapshot.max_struct_page != 0,
        }
    }
}

impl Guard {
    /// A guard that is not attached yet.
    #[must_use]
    pub fn new(policy: Policy, facts: &KernelFacts, clock: Rc<dyn os::clock::Clock>) -> Self {
        let (wall, boot_ns) = now(&*clock);
        let wanted = Wanted {
            mode_source: ModeSource::Configuration,
            configured_mode: policy.mode,
            policy,
            exemptions: Exemptions::default(),
            kernel: PolicyKernel {
                max_struct_page: None,
                page_size: facts.page_size,
                compat: COMPAT_ALIGN,
                module_epoch: 0,
            },
            regions: Vec::new(),
            armed: false,
        };
        Self {
            wanted,
            in_force: InForce::default(),
            tables: None,
            is_adopted: false,
            was_open: false,
            region_epochs: Vec::new(),
            has_destroyed: false,
            absent: BTreeMap::new(),
            region_names: BTreeMap::new(),
            host_clock: clock,
            clock: Clock::start(wall, boot_ns),
        }
    }

    /// There is a guard in the kernel, with these maps. `shared`: they are those of an earlier load or of a pinned guard, and
    /// contain its policy: it is in force until [`Self::arm`] or [`Self::disarm`]. A guard with new maps judges nothing until then.
    /// Returns whether this agent continues with the policy of an earlier one.
    ///
    /// # Errors
    /// The kernel does not let the maps be used. The maps that were open before stay.
    pub fn open(&mut self, mut tables: Box<dyn GuardTables>, shared: bool) -> anyhow::Result<bool> {
        let mut wanted = self.wanted.clone();
        // Before anything is asked of this libnvdimm: what is found out from now on is good for this one or a later.
        wanted.kernel.module_epoch = tables.module_epoch()?;
        wanted.kernel.max_struct_page = None;
        wanted.armed = false;
        let (mut in_force, mut continues) = (InForce::default(), false);
        if shared {
            let snapshot = tables.snapshot()?;
            in_force = InForce::of(&snapshot, tables.number()?);
            continues = !self.was_open && in_force.number != 0;
            if continues {
                wanted.adopt(&snapshot, &*tables);
            }
        } else {
            for grant in wanted.exemptions.grants().iter().filter(|grant| grant.once) {
                tables.create_ticket(grant.id)?;
            }
        }
        let is_adopted = in_force.armed && in_force.module_epoch == wanted.kernel.module_epoch;
        if shared && !is_adopted {
            // They belong to another libnvdimm.
            tables.forget(tables.known_blocks().into_keys().collect());
        }
        // Nobody has followed what was destroyed meanwhile.
        self.has_destroyed |= shared;
        (self.wanted, self.in_force, self.is_adopted, self.was_open) = (wanted, in_force, is_adopted, true);
        self.tables = Some(tables);
        Ok(continues)
    }

    /// The guard is gone from the kernel.
    pub fn close(&mut self) {
        if let Some(tables) = self.tables.take() {
            self.wanted.exemptions.retain_unspent(|id| tables.is_unspent(id));
        }
        self.wanted.armed = false;
        self.in_force = InForce { number: self.in_force.number, ..InForce::default() };
    }

    /// Has the guard judge nothing: its evidence is not updated any more. It counts what it allows.
    ///
    /// # Errors
    /// The kernel rejects the policy: it may judge on. [`Self::publish`] tries it again.
    pub fn disarm(&mut self) -> anyhow::Result<()> {
        self.wanted.armed = false;
        self.publish()
    }

    /// The inventory is about to be read: what it shows of a region is good until that is enabled again.
    ///
    /// # Errors
    /// The kernel does not report how often regions were enabled: the inventory must not be handed over.
    pub fn begin_inventory(&mut self) -> anyhow::Result<()> {
        self.region_epochs = self.tables.as_ref().map_or(Ok(Vec::new()), |tables| tables.region_epochs())?;
        Ok(())
    }

    /// Records the regions and the info blocks that there are, before the guard is armed. Call [`Self::begin_inventory`] before
    /// the inventory is read.
    ///
    /// # Errors
    /// What is known of a namespace cannot be handed over: then the guard must not be armed.
    pub fn add_inventory(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.set_regions(inventory);
        let Some(tables) = &mut self.tables else { return Ok(()) };
        let mut without_room = 0;
        for (place, block) in inventory.namespaces.iter().filter_map(namespace_blocks::block) {
            let epoch = usize::try_from(place.epoch_slot()).ok().and_then(|slot| self.region_epochs.get(slot));
            let Some(epoch) = epoch else { continue };
            without_room += usize::from(!tables.add_known_block(place, block.found_in(*epoch))?);
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
        let Some(tables) = self.tables.as_mut().filter(|_| self.has_destroyed) else { return Ok(()) };
        let mut absent = tables.known_blocks();
        // A namespace that is made again replaces what is known of its place. So an old entry does no harm while there is room, and
        // one that is removed in that very moment would leave the new namespace unseen.
        if absent.len().saturating_mul(4) < tables.known_capacity().saturating_mul(3) {
            self.absent.clear();
            return Ok(());
        }
        let present = present().context("the namespaces cannot be read")?;
        for (region, start) in present {
            if let Some(place) = namespace_blocks::place(&region, start) {
                absent.remove(&place);
            }
        }
        // What was absent the last time as well, and unchanged: nothing is made there all the time.
        let (gone, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            absent.into_iter().partition(|(place, block)| self.absent.get(place) == Some(block));
        tables.forget(gone.into_keys().collect());
        self.has_destroyed = !new.is_empty();
        self.absent = new;
        Ok(())
    }

    /// Whether an exemption names a region that was not found, and this physical address, if known, is in no region that was.
    #[must_use]
    pub fn has_unresolved_region(&self, start: Option<u64>) -> bool {
        let is_found = |start| {
            self.wanted.regions.iter().any(|it| it.start <= start && it.last().is_some_and(|last| start <= last))
        };
        self.wanted.exemptions.has_unresolved() && !start.is_some_and(is_found)
    }

    /// Whether this is a region that was not found.
    #[must_use]
    pub fn is_unknown_region(&self, subject: ExemptionSubject) -> bool {
        let is_region = matches!(subject, ExemptionSubject::RegionCookie(_) | ExemptionSubject::RegionStart(_));
        is_region && !self.wanted.regions.iter().any(|region| region.is(subject))
    }

    /// The name that a region of an exemption has now.
    #[must_use]
    pub fn region_name(&self, subject: ExemptionSubject) -> Option<&str> {
        let region = self.wanted.regions.iter().find(|region| region.is(subject))?;
        self.region_names.get(&region.start).map(String::as_str)
    }

    fn set_regions(&mut self, inventory: &Inventory) {
        let regions = inventory.regions.iter().filter_map(|region| Some((region, RegionFacts::of(region)?)));
        (self.region_names, self.wanted.regions) =
            regions.map(|(region, facts)| ((facts.start, region.name.clone()), facts)).unzip();
    }

    /// Regions appeared after the initial scan: exemptions for them are in force from now on.
    ///
    /// # Errors
    /// The kernel rejects the policy: the guard uses the earlier one until [`Self::publish`] succeeds.
    pub fn update_regions(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        self.set_regions(inventory);
        self.publish_facts()
    }

    /// Puts facts in force. A guard that was taken over judges on as it is until it is armed with all of them, or disarmed.
    fn publish_facts(&mut self) -> anyhow::Result<()> {
        if self.in_force.armed && !self.wanted.armed { Ok(()) } else { self.publish() }
    }

    /// The inventory is recorded: from now on the guard judges.
    ///
    /// # Errors
    /// The kernel rejects the policy.
    pub fn arm(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        let armed = self.tables.is_some();
        self.wanted.kernel.max_struct_page = max_struct_page;
        self.apply(|wanted| wanted.armed = armed)
    }

    /// The kernel's MAX_STRUCT_PAGE_SIZE in bytes, or `None` if it is unknown by now.
    ///
    /// # Errors
    /// The kernel rejects the policy: the guard uses the earlier one until [`Self::publish`] succeeds.
    pub fn set_struct_page_size(&mut self, max_struct_page: Option<u64>) -> anyhow::Result<()> {
        self.wanted.kernel.max_struct_page = max_struct_page;
        self.publish_facts()
    }

    /// Replaces the policy, as a whole or not at all. A mode that a person has set stays.
    ///
    /// # Errors
    /// The kernel rejects it: the earlier one stays in force.
    pub fn replace(&mut self, policy: Policy) -> anyhow::Result<()> {
        self.apply(|wanted| {
            let mode = wanted.policy.mode;
            (wanted.configured_mode, wanted.policy) = (policy.mode, policy);
            if wanted.mode_source == ModeSource::Person {
                wanted.policy.mode = mode;
            }
        })
    }

    /// Sets the mode as a person wants it; `None` for the configuration's. Returns the earlier one.
    ///
    /// # Errors
    /// The kernel rejects it: the earlier one stays in force.
    pub fn change_mode(&mut self, mode: Option<Mode>) -> anyhow::Result<Mode> {
        let before = self.wanted.policy.mode;
        self.apply(|wanted| {
            wanted.policy.mode = mode.unwrap_or(wanted.configured_mode);
            wanted.mode_source = if mode.is_some() { ModeSource::Person } else { ModeSource::Configuration };
        })?;
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
        let (_, boot_ns) = now(&*self.host_clock);
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1);
        let until_boot_ns = duration.map(|duration| boot_ns.saturating_add(nanoseconds(duration)));
        let id = self.wanted.exemptions.next_id(boot_ns);
        let grant = Grant { id, subject, until_boot_ns, once, reason, by };
        // The ticket first: a snapshot that names one that is not there yet would deny.
        if once && let Some(tables) = &mut self.tables {
            tables.create_ticket(id)?;
        }
        if let Err(error) = self.apply(|wanted| wanted.exemptions.add(grant.clone())) {
            self.remove_ticket(&grant);
            return Err(error);
        }
        let Some(reason) = self.wanted.exemptions.skip_reason(id) else { return Ok(grant) };
        // What is skipped is not in the snapshot.
        self.wanted.exemptions.remove(id);
        self.remove_ticket(&grant);
        anyhow::bail!("{subject} cannot be exempted: {reason}")
    }

    /// Withdraws an exemption; `None` if there is none with that number.
    ///
    /// # Errors
    /// The kernel rejects the policy without it: it is still in force.
    pub fn revoke(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        let removed = self.apply(|wanted| wanted.exemptions.remove(id))?;
        if let Some(grant) = &removed {
            self.remove_ticket(grant);
        }
        Ok(removed)
    }

    fn remove_ticket(&mut self, grant: &Grant) {
        if let (true, Some(tables)) = (grant.once, &mut self.tables) {
            tables.remove_ticket(grant.id);
        }
    }

    /// Removes the grants that have expired, and returns them, and whether the kernel has accepted the policy without them. The
    /// guard's program has not used them since.
    pub fn expire(&mut self) -> (Vec<Grant>, anyhow::Result<()>) {
        let (wall, boot_ns) = now(&*self.host_clock);
        self.clock.follow(wall, boot_ns);
        let expired = self.wanted.exemptions.take_expired(boot_ns);
        let Wanted { policy, exemptions, .. } = &self.wanted;
        let is_changed = !expired.is_empty() || exemptions.has_configured_expired(policy, self.clock.wall());
        let published = if is_changed { self.publish() } else { Ok(()) };
        (expired, published)
    }

    /// Applies an event: a destroyed namespace, or a creation that an exemption allowed. Returns the grant for one creation that it
    /// used, and whether the kernel has accepted the policy without it. It is used all the same.
    pub fn follow(&mut self, event: &Event) -> (Option<Grant>, anyhow::Result<()>) {
        self.has_destroyed |= matches!(event.body, Body::Destroy(_));
        let used = event.guard_decision().and_then(|decision| decision.exemption.as_ref());
        let Some(used) = used.filter(|used| self.wanted.exemptions.is_one_shot(used.id)) else { return (None, Ok(())) };
        let grant = self.wanted.exemptions.remove(used.id);
        grant.iter().for_each(|grant| self.remove_ticket(grant));
        (grant, self.publish())
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
            .or_else(|| self.wanted.exemptions.description(used.id).map(str::to_owned));
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

    /// Why the guard in the kernel would not judge a creation now, by what the kernel has accepted; `None` if it would.
    #[must_use]
    pub fn not_armed_reason(&self) -> Option<String> {
        let Some(tables) = &self.tables else { return Some("no guard is in the kernel".to_owned()) };
        if !self.in_force.armed {
            return Some("what info blocks there are is not known yet".to_owned());
        }
        match tables.module_epoch() {
            Ok(epoch) if epoch == self.in_force.module_epoch => {}
            Ok(_) => return Some("libnvdimm was loaded or unloaded since the guard was armed".to_owned()),
            Err(error) => return Some(format!("whether libnvdimm is still the same is not known: {error:#}")),
        }
        let unknown = "what this kernel reserves for each page (MAX_STRUCT_PAGE_SIZE) is not known";
        (!self.in_force.knows_max_struct_page).then(|| unknown.to_owned())
    }

    /// Whether the known blocks are handed over, but for another load of libnvdimm than the present one.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let epoch = self.tables.as_ref().and_then(|tables| tables.module_epoch().ok());
        self.in_force.armed && epoch.is_some_and(|epoch| epoch != self.in_force.module_epoch)
    }

    /// Whether all known blocks are handed over.
    #[must_use]
    pub const fn has_blocks(&self) -> bool {
        self.in_force.armed
    }

    /// Whether a guard in the kernel has this policy: the agent's own, or a pinned one.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.tables.is_some()
    }

    /// The report that the policy of an earlier agent's guard stays in force.
    #[must_use]
    pub fn taken_over(&self, pins: Vec<String>) -> GuardTransfer {
        let granted = match self.grants().len() {
            0 => String::new(),
            count => format!("; {count} exemptions that were granted by hand stay in force"),
        };
        let mode = match self.overridden_mode() {
            None => String::new(),
            Some(configured) => format!(
                ", and its mode, which a person has set, stays in force, not the configuration's ({configured}): \
                 `pfnwatch mode` changes it"
            ),
        };
        let detail = format!("it guarded on without an agent{mode}{granted}");
        GuardTransfer { mode: self.wanted.policy.mode, pins, by: None, detail }
    }

    /// The report of the policy in force. `file`: where it comes from.
    #[must_use]
    pub fn policy_loaded(&self, file: Option<String>) -> PolicyLoaded {
        PolicyLoaded { file, number: self.in_force.number, explanation: self.wanted.policy.describe() }
    }

    /// What becomes of the programs when the agent ends.
    #[must_use]
    pub const fn on_exit(&self) -> OnExit {
        match self.wanted.policy.on_agent_exit {
            OnAgentExit::Release => OnExit::Detach,
            OnAgentExit::Hold => OnExit::Pinned,
        }
    }

    /// The policy, with the mode in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.wanted.policy
    }

    #[must_use]
    pub const fn mode_source(&self) -> ModeSource {
        self.wanted.mode_source
    }

    #[must_use]
    pub const fn configured_mode(&self) -> Mode {
        self.wanted.configured_mode
    }

    /// The configuration's mode, if a person has set another one.
    #[must_use]
    pub fn overridden_mode(&self) -> Option<Mode> {
        let Wanted { policy, configured_mode, .. } = &self.wanted;
        (policy.mode != *configured_mode).then_some(*configured_mode)
    }

    /// The number of the policy in force.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.in_force.number
    }

    /// The exemptions that were granted while an agent ran, and are in force.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        self.wanted.exemptions.grants()
    }

    /// The exemptions of the configuration that have not ended, with their numbers.
    pub fn in_configuration(&self) -> impl Iterator<Item = (u64, &Exemption)> {
        self.wanted.exemptions.configured(&self.wanted.policy)
    }

    /// The exemptions of the configuration that are not in force, or not on all that they name, and why.
    pub fn skipped_in_configuration(&self) -> impl Iterator<Item = (&Exemption, SkipReason)> {
        self.in_configuration().filter_map(|(id, exemption)| Some((exemption, self.wanted.exemptions.skip_reason(id)?)))
    }

    /// How many descriptions of exemptions were evicted because there were too many.
    #[must_use]
    pub const fn evicted_descriptions(&self) -> u64 {
        self.wanted.exemptions.evicted_descriptions()
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
        boot_ns.saturating_sub(now(&*self.host_clock).1)
    }

    /// Changes what is wanted, and puts it in force: if the kernel rejects it, nothing has changed.
    fn apply<T>(&mut self, change: impl FnOnce(&mut Wanted) -> T) -> anyhow::Result<T> {
        let mut wanted = self.wanted.clone();
        let done = change(&mut wanted);
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.publish().inspect_err(|_| self.wanted = before)?;
        Ok(done)
    }

    /// Compiles what is wanted with all that is known by now, and puts it in force.
    ///
    /// # Errors
    /// The kernel rejects it: what was in force stays.
    pub fn publish(&mut self) -> anyhow::Result<()> {
        let (wall, boot_ns) = now(&*self.host_clock);
        self.clock.follow(wall, boot_ns);
        let Wanted { policy, mode_source, exemptions, kernel, regions, armed, .. } = &self.wanted;
        let Compiled { mut snapshot, configured, descriptions, skipped } =
            compile(policy, exemptions.grants(), kernel, regions, &self.clock, *armed);
        snapshot.mode_source = *mode_source as u32;
        if let Some(tables) = &mut self.tables {
            self.in_force = InForce::of(&snapshot, tables.publish(&snapshot)?);
        }
        self.wanted.exemptions.on_compiled(configured, descriptions, skipped);
        Ok(())
    }
}

impl Wanted {
    /// Continues with the mode that a person has set and the grants of the guard that these maps come from.
    fn adopt(&mut self, snapshot: &Snapshot, tables: &dyn GuardTables) {
        if snapshot.mode_source == ModeSource::Person as u32 {
            self.mode_source = ModeSource::Person;
            self.policy.mode = if snapshot.mode == Mode::Enforce as u32 { Mode::Enforce } else { Mode::Audit };
        }
        adopt::grants(snapshot)
            .filter(|grant| !grant.once || tables.is_unspent(grant.id))
            .for_each(|grant| self.exemptions.adopt(grant));
    }
}

/// The wall clock first, see [`Clock::start`].
fn now(clock: &dyn os::clock::Clock) -> (SystemTime, u64) {
    let wall = clock.wall();
    (wall, u64::try_from(clock.since_boot().as_nanos()).unwrap_or(u64::MAX))
}
