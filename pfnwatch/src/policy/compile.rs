//! From the policy to the snapshot that the guard judges by. Pure.

use crate::model::policy::RegionFacts;
use std::collections::BTreeMap;
use std::fmt;
use std::time::UNIX_EPOCH;

use pfnwatch_common::policy::{self, ExemptionKind, MAX_EXEMPTIONS, NO_EXPIRY, Snapshot};
use serde::Serialize;

use super::Clock;
use crate::model::policy::{Exemption, ExemptionSubject, Grant, Policy};

/// Set in the id of every configured exemption, and in none of a [`Grant`]. It is the highest: ids are below 2^53, so that every reader
/// of JSON keeps them exactly.
pub const CONFIGURED_ID_BIT: u64 = 1 << 52;

/// Parameters of the running kernel for the guard; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKernel {
    /// MAX_STRUCT_PAGE_SIZE; if unknown, nothing is judged.
    pub max_struct_page: Option<u64>,
    pub page_size: u64,
    pub compat: u64,
    pub module_epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub snapshot: Snapshot,
    /// The id of each exemption of the configuration, in its order.
    pub configured: Vec<u64>,
    /// A description of each exemption by its id, skipped ones included, as long as the policy has them.
    pub descriptions: BTreeMap<u64, String>,
    /// What is not in the snapshot, or only in part, in the order of the configuration and then of the grants.
    pub skipped: Vec<SkippedExemption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedExemption {
    /// The id that it would have had.
    pub id: u64,
    #[serde(flatten)]
    pub subject: ExemptionSubject,
    pub description: String,
    pub reason: SkipReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    Expired,
    /// This host has no such region at present.
    Unresolved,
    /// Several regions of this host have this `set_cookie`: it identifies none of them.
    Ambiguous,
    NoRoom,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its end has passed"),
            Self::Unresolved => f.write_str("there is no such region on this host now"),
            Self::Ambiguous => {
                f.write_str("several regions of this host have this set_cookie: name one by its region_start")
            }
            Self::NoRoom => write!(f, "the guard has room for {MAX_EXEMPTIONS} exemptions, and there are more"),
        }
    }
}

/// Makes the snapshot. `armed`: the known blocks are all there, so that the guard may judge.
#[must_use]
pub fn compile(
    policy: &Policy,
    grants: &[Grant],
    kernel: &PolicyKernel,
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
        armed: armed.into(),
        ..Snapshot::EMPTY
    };
    let mut compiled =
        Compiled { snapshot, configured: Vec::new(), descriptions: BTreeMap::new(), skipped: Vec::new() };
    for exemption in &policy.exemptions {
        let id = compiled.free_id(exemption);
        compiled.configured.push(id);
        let until_ns = exemption.until.map_or(Some(NO_EXPIRY), |until| clock.boot_ns_at(until));
        let words = format!("the configuration exempts {exemption}");
        compiled.exempt(
            &PendingExemption { id, subject: exemption.subject, once: false, until_ns, description: words },
            regions,
        );
    }
    for grant in grants {
        let until_ns = grant.until_boot_ns.map_or(Some(NO_EXPIRY), |until| (until > clock.boot_ns()).then_some(until));
        let Grant { id, subject, once, .. } = *grant;
        compiled.exempt(&PendingExemption { id, subject, once, until_ns, description: granted(grant) }, regions);
    }
    compiled
}

/// An exemption of either kind. `until_ns` is `None` once it has expired.
struct PendingExemption {
    id: u64,
    subject: ExemptionSubject,
    once: bool,
    until_ns: Option<u64>,
    description: String,
}

impl Compiled {
    /// Adds an exemption, or a warning with the reason why not.
    fn exempt(&mut self, draft: &PendingExemption, regions: &[RegionFacts]) {
        let PendingExemption { id, subject, description: ref words, .. } = *draft;
        self.descriptions.insert(id, words.clone());
        let resolved = match draft.until_ns {
            Some(until_ns) => self.resolve(draft, until_ns, regions),
            None => Err(SkipReason::Expired),
        };
        if let Err(why) = resolved {
            self.skipped.push(SkippedExemption { id, subject, description: words.clone(), reason: why });
        }
    }

    /// Adds what a subject is on this host: a uuid, or the addresses of its regions.
    fn resolve(&mut self, draft: &PendingExemption, until_ns: u64, regions: &[RegionFacts]) -> Result<(), SkipReason> {
        let entry = policy::Exemption { once: draft.once.into(), id: draft.id, until_ns, ..policy::Exemption::EMPTY };
        if let ExemptionSubject::Namespace(uuid) = draft.subject {
            // Without labels every namespace has the null uuid: it names none of them.
            if uuid.is_nil() {
                return Err(SkipReason::Unresolved);
            }
            let kind = ExemptionKind::Namespace as u32;
            return self.push(policy::Exemption { kind, namespace_uuid: *uuid.as_bytes(), ..entry });
        }
        let matching = regions.iter().filter(|region| region.is(draft.subject));
        // ramdax gives the same cookie to each of its regions (drivers/nvdimm/ramdax.c).
        if matches!(draft.subject, ExemptionSubject::RegionCookie(_)) && matching.clone().count() > 1 {
            return Err(SkipReason::Ambiguous);
        }
        let mut found = Err(SkipReason::Unresolved);
        for region in matching {
            if let Some(last) = region.last() {
                let kind = ExemptionKind::Range as u32;
                self.push(policy::Exemption { kind, first: region.start, last, ..entry })?;
                found = Ok(());
            }
        }
        found
    }

    fn push(&mut self, entry: policy::Exemption) -> Result<(), SkipReason> {
        let count = &mut self.snapshot.exemption_count;
        let index = usize::try_from(*count).map_err(|_| SkipReason::NoRoom)?;
        *self.snapshot.exemptions.get_mut(index).ok_or(SkipReason::NoRoom)? = entry;
        *count += 1;
        Ok(())
    }

    /// An id derived from the exemption's contents: an unchanged exemption keeps its id, and another one gets another,
    /// so that an event sent during a reload is not attributed to the wrong one.
    fn free_id(&self, exemption: &Exemption) -> u64 {
        let mut id = digest(exemption);
        // Of two that are the same, the second gets the next.
        while self.descriptions.contains_key(&configured_id(id)) {
            id = id.wrapping_add(1);
        }
        configured_id(id)
    }
}

const fn configured_id(digest: u64) -> u64 {
    digest & (CONFIGURED_ID_BIT - 1) | CONFIGURED_ID_BIT
}

/// FNV-1a over all that an exemption is, which is the same for every build of pfnwatch: a pinned guard outlives an upgrade.
fn digest(exemption: &Exemption) -> u64 {
    let until = exemption.until.map(|until| until.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
    let text = format!("{}={}\n{until:?}\n{}", exemption.subject.key(), exemption.subject.value(), exemption.reason);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn granted(grant: &Grant) -> String {
    let once = if grant.once { ", once" } else { "" };
    format!("{} allowed {}{once}: {}", grant.by, grant.subject, grant.reason)
}

#[cfg(test)]
mod tests;
