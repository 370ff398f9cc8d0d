//! What the guard would decide about one creation, said in user space: for `policy check`. Pure.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Exemption, Policy, RegionFacts, Subject};

/// A reservation, and what it is measured by; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// reservation - ideal.
    pub excess: u64,
    /// The larger of the device's align and the kernel's.
    pub align: u64,
    /// The whole namespace.
    pub size: u64,
}

/// What exemptions are matched with; none is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The namespace uuid; nil where it has none.
    pub namespace_uuid: Option<Uuid>,
    /// The region's `set_cookie`.
    pub region_set_cookie: Option<u64>,
    /// Physical address of the region's first byte.
    pub region_start: Option<u64>,
}

impl Place {
    /// Of a namespace that starts at this physical address.
    #[must_use]
    pub fn at(start: Option<u64>, namespace_uuid: Option<Uuid>, regions: &[RegionFacts]) -> Self {
        let within = |region: &&RegionFacts| {
            start.is_some_and(|start| region.start <= start && region.last().is_some_and(|last| start <= last))
        };
        let region = regions.iter().find(within);
        Self {
            namespace_uuid,
            // A region that has none has none of anybody's.
            region_set_cookie: region.map(|region| region.set_cookie.unwrap_or(0)),
            region_start: region.map(|region| region.start),
        }
    }
}

/// What becomes of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It is not oversize.
    Passes,
    /// It is oversize, and exempt.
    Exempt(&'a Exemption),
    /// It is oversize.
    Denied,
    /// It is oversize, and whether this exemption covers it is not known.
    PerhapsExempt(&'a Exemption),
}

impl Policy {
    /// Judges a creation at a moment.
    #[must_use]
    pub fn judge(&self, cost: &Cost, place: &Place, at: SystemTime) -> Decision<'_> {
        if !self.thresholds.passed_by(cost.excess, cost.align, cost.size) {
            return Decision::Passes;
        }
        let in_force = || self.exemptions.iter().filter(|exemption| !exemption.has_ended(at));
        let covering = |answer: Option<bool>| in_force().find(|exemption| exemption.subject.covers(place) == answer);
        covering(Some(true))
            .map(Decision::Exempt)
            .or_else(|| covering(None).map(Decision::PerhapsExempt))
            .unwrap_or(Decision::Denied)
    }
}

impl Exemption {
    /// Whether its end has passed.
    #[must_use]
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Subject {
    /// Whether it is about a namespace there; `None` where that is not known.
    #[must_use]
    pub fn covers(self, place: &Place) -> Option<bool> {
        match self {
            Self::RegionCookie(cookie) => place.region_set_cookie.map(|its| its == cookie),
            Self::RegionStart(start) => place.region_start.map(|its| its == start),
            Self::Namespace(uuid) => place.namespace_uuid.map(|its| its == uuid && !uuid.is_nil()),
        }
    }
}
