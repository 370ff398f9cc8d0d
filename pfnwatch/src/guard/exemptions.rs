//! The exemptions that the guard knows of: those granted while an agent runs, and what became of the configuration's. No I/O.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::model::bounded::BoundedMap;
use crate::model::policy::{Exemption, Grant, Policy};
use crate::policy::compile::CONFIGURED_ID_BIT;
use crate::policy::{SkipReason, SkippedExemption};

/// So many descriptions are remembered: many times the exemptions that can be in force (`MAX_EXEMPTIONS`), which were written
/// last and so are never evicted. An event that names an evicted one has its number alone.
const MAX_DESCRIPTIONS: usize = 1024;

/// The grants, and the numbers, descriptions and obstacles of all exemptions as of the last compilation of the policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Exemptions {
    grants: Vec<Grant>,
    last_id: u64,
    /// The numbers of the configuration's exemptions, in its order.
    configured: Vec<u64>,
    /// By number; those of earlier compilations as well, since an event that names one may still be on its way.
    descriptions: BoundedMap<u64, String, MAX_DESCRIPTIONS>,
    skipped: Vec<SkippedExemption>,
}

impl Exemptions {
    pub(super) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    pub(super) fn add(&mut self, grant: Grant) {
        self.grants.push(grant);
    }

    /// Adds a grant of an earlier agent, unless it is here already.
    pub(super) fn adopt(&mut self, grant: Grant) {
        if !self.grants.iter().any(|known| known.id == grant.id) {
            self.last_id = self.last_id.max(grant.id);
            self.grants.push(grant);
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Grant> {
        let index = self.grants.iter().position(|grant| grant.id == id)?;
        Some(self.grants.remove(index))
    }

    /// Drops grants for one creation that were used.
    pub(super) fn retain_unspent(&mut self, is_unspent: impl Fn(u64) -> bool) {
        self.grants.retain(|grant| !grant.once || is_unspent(grant.id));
    }

    /// Removes the grants that have expired, and returns them.
    pub(super) fn take_expired(&mut self, boot_ns: u64) -> Vec<Grant> {
        let is_expired = |grant: &Grant| grant.until_boot_ns.is_some_and(|until| until <= boot_ns);
        let (expired, rest) = std::mem::take(&mut self.grants).into_iter().partition(is_expired);
        self.grants = rest;
        expired
    }

    pub(super) fn is_one_shot(&self, id: u64) -> bool {
        self.grants.iter().any(|grant| grant.id == id && grant.once)
    }

    /// A number that no exemption has had since boot, in this agent or one before it: it is made of the time.
    pub(super) fn next_id(&mut self, boot_ns: u64) -> u64 {
        // In milliseconds, so that people can type it.
        self.last_id = (boot_ns / 1_000_000).max(self.last_id + 1) & !CONFIGURED_ID_BIT;
        self.last_id
    }

    /// Records what compiling the policy has found out about its exemptions.
    pub(super) fn on_compiled(
        &mut self,
        configured: Vec<u64>,
        descriptions: BTreeMap<u64, String>,
        skipped: Vec<SkippedExemption>,
    ) {
        for (id, description) in descriptions {
            self.descriptions.insert(id, description);
        }
        self.configured = configured;
        self.skipped = skipped;
    }

    /// Why an exemption is not in force, or not on all that it names.
    pub(super) fn skip_reason(&self, id: u64) -> Option<SkipReason> {
        self.skipped.iter().find(|skipped| skipped.id == id).map(|skipped| skipped.reason)
    }

    /// Whether an exemption names a region that was not found.
    pub(super) fn has_unresolved(&self) -> bool {
        self.skipped.iter().any(|skipped| skipped.reason == SkipReason::Unresolved)
    }

    /// The exemptions of the configuration with their numbers.
    pub(super) fn configured<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (u64, &'a Exemption)> {
        self.configured.iter().copied().zip(&policy.exemptions)
    }

    /// Whether an exemption of the configuration has expired that was in force when the policy was compiled: the wall clock was
    /// set forward since.
    pub(super) fn has_configured_expired(&self, policy: &Policy, wall: SystemTime) -> bool {
        let is_expired = |exemption: &Exemption| exemption.until.is_some_and(|until| until <= wall);
        self.configured(policy).any(|(id, exemption)| self.skip_reason(id).is_none() && is_expired(exemption))
    }

    /// An exemption in words, whether it is still in force or not.
    pub(super) fn description(&self, id: u64) -> Option<&str> {
        self.descriptions.get(&id).map(String::as_str)
    }

    /// How many descriptions were evicted because there were too many.
    pub(super) const fn evicted_descriptions(&self) -> u64 {
        self.descriptions.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_ended_exemptions_are_forgotten_above_the_limit() {
        let mut exemptions = Exemptions::default();
        let limit = u64::try_from(MAX_DESCRIPTIONS).unwrap();
        for id in 0..limit + 5 {
            // Number 0 stays in force.
            let in_force = BTreeMap::from([(0, "region0".to_owned()), (id, "region0".to_owned())]);
            exemptions.on_compiled(Vec::new(), in_force, Vec::new());
        }
        let known = |id| exemptions.description(id).is_some();
        assert_eq!([0, 5, 6, limit].map(known), [true, false, true, true]);
        assert_eq!(exemptions.evicted_descriptions(), 5);
    }
}
