//! From the policy to the snapshot that the guard judges by. Pure.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use pfnwatch_common::{
    Rule,
    policy::{self, ExemptionKind, FOR_EVER, MOST_EXEMPTIONS, Snapshot},
};
use serde::Serialize;

use super::{Clock, Exemption, Grant, Policy, Subject};
use crate::inventory::Region;

/// Set in the id of every exemption of the configuration, and in none of a [`Grant`].
pub const OF_CONFIGURATION: u64 = 1 << 63;

/// What the guard has to know of the running kernel; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// MAX_STRUCT_PAGE_SIZE, where it is known: without, nothing is judged.
    pub max_struct_page: Option<u64>,
    /// PAGE_SIZE.
    pub page_size: u64,
    /// `memremap_compat_align()`.
    pub compat: u64,
    /// Where kernels differ in the formula.
    pub rule: Rule,
    /// [`Snapshot::module_epoch`].
    pub module_epoch: u64,
}

/// What identifies a region, and where it lies; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionFacts {
    /// Identifies it over boots; none on regions without labels.
    pub set_cookie: Option<u64>,
    /// Physical address of its first byte.
    pub start: u64,
    /// Its size.
    pub size: u64,
}

impl RegionFacts {
    /// Of a region of the inventory; none where its address is hidden from us or its size is not known.
    #[must_use]
    pub fn of(region: &Region) -> Option<Self> {
        let (start, size) = (region.resource.clone().ok()?, region.size.clone().ok()?);
        Some(Self { set_cookie: region.set_cookie.clone().ok().filter(|cookie| *cookie != 0), start, size })
    }

    /// The physical address of its last byte; none where it has none.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        match self.size.checked_sub(1) {
            Some(length) => self.start.checked_add(length),
            None => None,
        }
    }

    /// Whether `subject` is about this region.
    #[must_use]
    pub fn is(&self, subject: Subject) -> bool {
        match subject {
            Subject::RegionCookie(cookie) => self.set_cookie == Some(cookie) && cookie != 0,
            Subject::RegionStart(start) => self.start == start,
            Subject::Namespace(_) => false,
        }
    }
}

/// A policy, ready for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What the guard is given.
    pub snapshot: Snapshot,
    /// The id of each exemption of the configuration, in its order.
    pub configured: Vec<u64>,
    /// What each exemption is, in words, by its id; with those that are left out, as long as the policy has them.
    pub words: BTreeMap<u64, String>,
    /// What is not in the snapshot, or not all of it, in the order of the configuration and then of the grants.
    pub left_out: Vec<LeftOut>,
}

/// An exemption that the guard does not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The id that it would have had.
    pub id: u64,
    /// What it is for.
    #[serde(flatten)]
    pub subject: Subject,
    /// What it is, in words.
    pub words: String,
    /// Why.
    pub why: Why,
}

/// Why an exemption is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its end has passed.
    Expired,
    /// There is no such region on this host, or not now.
    Unresolved,
    /// There are [`MOST_EXEMPTIONS`] before it.
    NoRoom,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its end has passed"),
            Self::Unresolved => f.write_str("there is no such region on this host now"),
            Self::NoRoom => write!(f, "the guard has room for {MOST_EXEMPTIONS} exemptions, and there are more"),
        }
    }
}

/// Makes the snapshot. `armed`: the known blocks are all there, so that the guard may judge.
#[must_use]
pub fn compile(
    policy: &Policy,
    grants: &[Grant],
    kernel: &Kernel,
    regions: &[RegionFacts],
    clock: &Clock,
    armed: bool,
) -> Compiled {
    let thresholds = &policy.thresholds;
    let snapshot = Snapshot {
        module_epoch: kernel.module_epoch,
        max_struct_page: kernel.max_struct_page.unwrap_or(0),
        reference_struct_page: thresholds.reference_struct_page,
        page_size: kernel.page_size,
        compat: kernel.compat,
        aligns: thresholds.aligns,
        parts_per_million: thresholds.parts_per_million,
        mode: policy.mode as u32,
        writes_empty: kernel.rule.writes_empty.into(),
        armed: armed.into(),
        ..Snapshot::EMPTY
    };
    let mut compiled = Compiled { snapshot, configured: Vec::new(), words: BTreeMap::new(), left_out: Vec::new() };
    for exemption in &policy.exemptions {
        let id = compiled.free_id(exemption);
        compiled.configured.push(id);
        let until_ns = exemption.until.map_or(Some(FOR_EVER), |until| clock.boot_ns_at(until));
        let words = format!("the configuration exempts {exemption}");
        compiled.exempt(&Draft { id, subject: exemption.subject, once: false, until_ns, words }, regions);
    }
    for grant in grants {
        let until_ns = grant.until_boot_ns.map_or(Some(FOR_EVER), |until| (until > clock.boot_ns()).then_some(until));
        let Grant { id, subject, once, .. } = *grant;
        compiled.exempt(&Draft { id, subject, once, until_ns, words: granted(grant) }, regions);
    }
    compiled
}

/// An exemption of either kind. `until_ns`: none where its end has passed.
struct Draft {
    id: u64,
    subject: Subject,
    once: bool,
    until_ns: Option<u64>,
    words: String,
}

impl Compiled {
    /// Adds an exemption, or says why not.
    fn exempt(&mut self, draft: &Draft, regions: &[RegionFacts]) {
        let Draft { id, subject, ref words, .. } = *draft;
        self.words.insert(id, words.clone());
        let resolved = match draft.until_ns {
            Some(until_ns) => self.resolve(draft, until_ns, regions),
            None => Err(Why::Expired),
        };
        if let Err(why) = resolved {
            self.left_out.push(LeftOut { id, subject, words: words.clone(), why });
        }
    }

    /// Adds what a subject is on this host: a uuid, or the addresses of its regions.
    fn resolve(&mut self, draft: &Draft, until_ns: u64, regions: &[RegionFacts]) -> Result<(), Why> {
        let entry = policy::Exemption { once: draft.once.into(), id: draft.id, until_ns, ..policy::Exemption::EMPTY };
        if let Subject::Namespace(uuid) = draft.subject {
            // Without labels every namespace has the null uuid: it names none of them.
            if uuid.is_nil() {
                return Err(Why::Unresolved);
            }
            let kind = ExemptionKind::Namespace as u32;
            return self.push(policy::Exemption { kind, namespace_uuid: *uuid.as_bytes(), ..entry });
        }
        let mut found = Err(Why::Unresolved);
        for region in regions.iter().filter(|region| region.is(draft.subject)) {
            if let Some(last) = region.last() {
                let kind = ExemptionKind::Range as u32;
                self.push(policy::Exemption { kind, first: region.start, last, ..entry })?;
                found = Ok(());
            }
        }
        found
    }

    fn push(&mut self, entry: policy::Exemption) -> Result<(), Why> {
        let count = &mut self.snapshot.exemption_count;
        let index = usize::try_from(*count).map_err(|_| Why::NoRoom)?;
        *self.snapshot.exemptions.get_mut(index).ok_or(Why::NoRoom)? = entry;
        *count += 1;
        Ok(())
    }

    /// An id that follows from what the exemption says: as long as it stands unchanged it keeps its id, and another one
    /// gets another, so that an event that was on its way during a reload is not laid at the wrong one's door.
    fn free_id(&self, exemption: &Exemption) -> u64 {
        let mut hasher = DefaultHasher::new();
        exemption.hash(&mut hasher);
        let mut id = hasher.finish() | OF_CONFIGURATION;
        // Of two that say the same, the second gets the next.
        while self.words.contains_key(&id) {
            id = id.wrapping_add(1) | OF_CONFIGURATION;
        }
        id
    }
}

fn granted(grant: &Grant) -> String {
    let once = if grant.once { ", once" } else { "" };
    format!("{} allowed {}{once}: {}", grant.by, grant.subject, grant.reason)
}

#[cfg(test)]
mod tests;
