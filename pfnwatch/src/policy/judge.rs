//! The guard's decision about one creation, in user space: for `policy check`. Pure.

use std::time::SystemTime;

use uuid::Uuid;

use crate::model::policy::{Exemption, ExemptionSubject, Policy, RegionFacts};

/// Instead of a `set_cookie`, for a region without labels: no region has this one.
pub const NO_COOKIE: u64 = 0;

/// A region's `set_cookie` as far as it identifies the region: [`NO_COOKIE`] if others of the host, `all`, have the same.
#[must_use]
pub fn identifying_cookie(cookie: u64, all: impl Iterator<Item = u64>) -> u64 {
    if all.filter(|it| *it == cookie).nth(1).is_some() { NO_COOKIE } else { cookie }
}

/// What exemptions are matched with; `None` is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatchContext {
    /// The namespace uuid; nil if it has none.
    pub namespace_uuid: Option<Uuid>,
    /// The region's [`identifying_cookie`]; [`NO_COOKIE`] if it has none.
    pub region_set_cookie: Option<u64>,
    /// Physical address of the region's first byte.
    pub region_start: Option<u64>,
}

impl MatchContext {
    #[must_use]
    pub fn at(start: Option<u64>, namespace_uuid: Option<Uuid>, regions: &[RegionFacts]) -> Self {
        let within = |region: &&RegionFacts| {
            start.is_some_and(|start| region.start <= start && region.last().is_some_and(|last| start <= last))
        };
        let region = regions.iter().find(within);
        Self {
            namespace_uuid,
            region_set_cookie: region.map(|region| {
                let all = regions.iter().filter_map(|region| region.set_cookie);
                region.set_cookie.map_or(NO_COOKIE, |cookie| identifying_cookie(cookie, all))
            }),
            region_start: region.map(|region| region.start),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Allowed,
    Exempt(&'a Exemption),
    Denied,
    /// It is oversize, and it is unknown whether this exemption covers it.
    MaybeExempt(&'a Exemption),
}

impl Policy {
    /// The decision on a creation at a moment. `oversize`: its excess exceeds the limits.
    #[must_use]
    pub fn decide(&self, oversize: bool, place: &MatchContext, at: SystemTime) -> Decision<'_> {
        if !oversize {
            return Decision::Allowed;
        }
        let in_force = || self.exemptions.iter().filter(|exemption| !exemption.has_expired(at));
        let covering = |answer: Option<bool>| in_force().find(|exemption| exemption.subject.covers(place) == answer);
        covering(Some(true))
            .map(Decision::Exempt)
            .or_else(|| covering(None).map(Decision::MaybeExempt))
            .unwrap_or(Decision::Denied)
    }
}

impl Exemption {
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl ExemptionSubject {
    /// Whether the exemption covers a namespace there; `None` if unknown.
    #[must_use]
    pub fn covers(self, place: &MatchContext) -> Option<bool> {
        match self {
            Self::RegionCookie(cookie) => place.region_set_cookie.map(|its| its == cookie && its != NO_COOKIE),
            Self::RegionStart(start) => place.region_start.map(|its| its == start),
            Self::Namespace(uuid) => place.namespace_uuid.map(|its| its == uuid && !uuid.is_nil()),
        }
    }
}
