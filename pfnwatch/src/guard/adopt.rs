//! Which exemptions the policy of a guard from an earlier agent contains. Pure.

use pfnwatch_common::policy::{Exemption, ExemptionKind, NO_EXPIRY, Snapshot};
use uuid::Uuid;

use crate::model::policy::{ExemptionSubject, Grant};
use crate::policy::compile::CONFIGURED_ID_BIT;

/// The exemptions of a snapshot that were granted by hand; those of the configuration are in its file. A snapshot does not
/// contain who asked for them and why.
pub(super) fn grants(snapshot: &Snapshot) -> impl Iterator<Item = Grant> {
    let count = usize::try_from(snapshot.exemption_count).unwrap_or(usize::MAX);
    snapshot.exemptions.iter().take(count).filter(|it| it.id & CONFIGURED_ID_BIT == 0).map(|exemption| {
        let Exemption { kind, once, id, until_ns, first, namespace_uuid, .. } = *exemption;
        let subject = if kind == ExemptionKind::Namespace as u32 {
            ExemptionSubject::Namespace(Uuid::from_bytes(namespace_uuid))
        } else {
            ExemptionSubject::RegionStart(first)
        };
        Grant {
            id,
            subject,
            until_boot_ns: (until_ns != NO_EXPIRY).then_some(until_ns),
            once: once != 0,
            reason: "granted while an earlier agent ran: its events contain the reason".to_owned(),
            by: "unknown".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_by_hand_is_adopted_and_nothing_else() {
        let mut snapshot = Snapshot { exemption_count: 3, ..Snapshot::EMPTY };
        let range = Exemption { kind: ExemptionKind::Range as u32, id: 7, first: 4096, last: 8191, ..Exemption::EMPTY };
        let uuid = Exemption { kind: ExemptionKind::Namespace as u32, id: 8, once: 1, ..Exemption::EMPTY };
        let [first, second, third, fourth, ..] = &mut snapshot.exemptions;
        *first = Exemption { until_ns: 5, ..range };
        *second = Exemption { id: 9 | CONFIGURED_ID_BIT, ..range };
        *third = Exemption { until_ns: NO_EXPIRY, namespace_uuid: [3; 16], ..uuid };
        *fourth = range;
        let found: Vec<_> = grants(&snapshot).map(|it| (it.id, it.subject, it.until_boot_ns, it.once)).collect();
        let namespace = ExemptionSubject::Namespace(Uuid::from_bytes([3; 16]));
        assert_eq!(found, [(7, ExemptionSubject::RegionStart(4096), Some(5), false), (8, namespace, None, true)]);
    }
}
