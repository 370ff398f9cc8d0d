//! Exemptions that are granted while the agent runs: made, spent, withdrawn, over.

use std::time::Duration;

use super::{Guard, now};
use crate::{
    model::policy::{Exemption, ExemptionSubject, Grant},
    policy::{SkipReason, SkippedExemption, compile::CONFIGURED_ID_BIT},
};

impl Guard {
    /// Grants an exemption; it is in force when this returns.
    ///
    /// # Errors
    /// There is no room for it, the region is not there, or the kernel refuses it: nothing has changed then.
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
        let id = self.next_id(boot_ns);
        let grant = Grant { id, subject, until_boot_ns, once, reason, by };
        // The ticket first: a snapshot that names one that is not there yet would deny.
        if once && let Some(maps) = &mut self.maps {
            maps.create_ticket(id)?;
        }
        self.grants.push(grant.clone());
        let handed = self.publish();
        let left_out =
            self.skipped.iter().find(|it| it.id == id).map(|SkippedExemption { reason: why, .. }| why.to_string());
        match (handed, left_out) {
            (Ok(()), None) => Ok(grant),
            (handed, left_out) => {
                self.remove(id)?;
                handed?;
                anyhow::bail!("{subject} cannot be exempted: {}", left_out.unwrap_or_default())
            }
        }
    }

    /// Withdraws an exemption; none where there is none with that number.
    ///
    /// # Errors
    /// The kernel refuses it: it may still be in force.
    pub fn revoke(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        self.remove(id)
    }

    /// A creation was let pass by this exemption. Gives it where that has spent it.
    ///
    /// # Errors
    /// The kernel refuses the policy without it. It is spent all the same.
    pub fn on_ticket_used(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        match self.grants.iter().any(|grant| grant.id == id && grant.once) {
            true => self.remove(id),
            false => Ok(None),
        }
    }

    /// Takes away those whose time is over. The guard itself has not heeded them since.
    ///
    /// # Errors
    /// The kernel refuses the policy without them.
    pub fn expire(&mut self) -> anyhow::Result<Vec<Grant>> {
        let (_, boot_ns) = now()?;
        let is_over = |grant: &Grant| grant.until_boot_ns.is_some_and(|until| until <= boot_ns);
        let (over, rest) = std::mem::take(&mut self.grants).into_iter().partition(is_over);
        self.grants = rest;
        let over: Vec<Grant> = over;
        if !over.is_empty() || self.has_configured_expired() {
            self.publish()?;
        }
        Ok(over)
    }

    /// Whether the wall clock has passed the end of one that the guard still heeds: it was set forward since.
    fn has_configured_expired(&mut self) -> bool {
        let Ok((wall, boot_ns)) = now() else { return false };
        self.clock.follow(wall, boot_ns);
        let heeded = |id: u64| !self.skipped.iter().any(|left_out| left_out.id == id);
        let over = |exemption: &Exemption| exemption.until.is_some_and(|until| until <= self.clock.wall());
        self.in_configuration().any(|(id, exemption)| heeded(id) && over(exemption))
    }

    /// Those in force.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Those of the configuration, with their numbers.
    pub fn in_configuration(&self) -> impl Iterator<Item = (u64, &Exemption)> {
        self.configured.iter().copied().zip(&self.policy.exemptions)
    }

    /// Those of the configuration that are not in force, or not on all that they name, and why.
    pub fn skipped_in_configuration(&self) -> impl Iterator<Item = (&Exemption, SkipReason)> {
        let why = |id| self.skipped.iter().find(|left_out| left_out.id == id).map(|left_out| left_out.reason);
        self.in_configuration().filter_map(move |(id, exemption)| Some((exemption, why(id)?)))
    }

    /// An exemption in words, whether it is still in force or not; none where it was never known.
    #[must_use]
    pub fn description(&self, id: u64) -> Option<&str> {
        self.descriptions.get(&id).map(String::as_str)
    }

    fn remove(&mut self, id: u64) -> anyhow::Result<Option<Grant>> {
        let Some(at) = self.grants.iter().position(|grant| grant.id == id) else { return Ok(None) };
        let grant = self.grants.remove(at);
        if let (true, Some(maps)) = (grant.once, &mut self.maps) {
            maps.remove_ticket(id);
        }
        self.publish()?;
        Ok(Some(grant))
    }

    /// A number that no exemption has had since boot, in this agent or one before it: it is made of the time.
    fn next_id(&mut self, boot_ns: u64) -> u64 {
        // In milliseconds, so that people can type it.
        self.last_grant = (boot_ns / 1_000_000).max(self.last_grant + 1) & !CONFIGURED_ID_BIT;
        self.last_grant
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use pfnwatch_common::KernelQuirks;

    use super::*;
    use crate::model::{
        kernel::KernelFacts,
        policy::{Policy, RegionFacts},
    };

    #[test]
    fn what_is_exempt_in_vain_is_told_with_its_reason() {
        let exemption = |subject, until| Exemption { subject, until, reason: "why".to_owned() };
        let namespace = ExemptionSubject::Namespace(uuid::Uuid::from_bytes([7; 16]));
        let over = exemption(namespace, Some(UNIX_EPOCH));
        let nowhere = exemption(ExemptionSubject::RegionStart(4 << 30), None);
        let exemptions = vec![over.clone(), exemption(namespace, None), nowhere.clone()];
        let facts = KernelFacts {
            release: "6.12.0".to_owned(),
            page_size: 4096,
            struct_page_size: Some(64),
            deduplicates: None,
        };
        let mut guard =
            Guard::new(Policy { exemptions, ..Policy::default() }, &facts, KernelQuirks::default()).unwrap();
        guard.arm(Some(64)).unwrap();
        let left_out: Vec<_> = guard.skipped_in_configuration().collect();
        assert_eq!(left_out, [(&over, SkipReason::Expired), (&nowhere, SkipReason::Unresolved)]);

        // It may come yet, and a namespace that is in no region known is a sign of it.
        let region = |start| RegionFacts { set_cookie: None, start, size: 1 << 30 };
        guard.regions.push(region(8 << 30));
        assert!(guard.has_unresolved_region(None) && guard.has_unresolved_region(Some(4 << 30)));
        assert!(guard.is_unknown_region(nowhere.subject) && !guard.is_unknown_region(namespace));
        assert!(!guard.has_unresolved_region(Some((9 << 30) - 1)));
        guard.regions.push(region(4 << 30));
        guard.arm(Some(64)).unwrap();
        assert!(!guard.has_unresolved_region(None));
    }
}
