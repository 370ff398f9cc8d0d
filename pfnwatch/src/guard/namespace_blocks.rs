//! Which info block a namespace has according to the inventory, for the guard. Pure.

use pfnwatch_common::guard::{KnownBlock, NamespacePlace};

use crate::model::inventory::{Namespace, SysfsMode};

/// The place of a namespace and its block. `None` if nobody has seen what is on it: it is not enabled, or an attribute that
/// would show it cannot be read. The guard allows what happens on such a namespace.
pub(super) fn block(namespace: &Namespace) -> Option<(NamespacePlace, KnownBlock)> {
    let block = match (&namespace.holder, &namespace.mode) {
        // A driver is bound that has found the block valid, or made it.
        (Ok(holder), Ok(SysfsMode::Memory | SysfsMode::Dax)) if holder.enabled() => {
            KnownBlock::of_uuid(zerocopy::transmute!(holder.uuid.clone().ok()?.into_bytes()))
        }
        // A btt has no such block, and what is enabled raw may be written over.
        (Ok(holder), _) if holder.enabled() && holder.name.starts_with("btt") => KnownBlock::NONE,
        _ if namespace.bound => KnownBlock::NONE,
        _ => return None,
    };
    Some((place(&namespace.region, namespace.resource.clone().ok()?)?, block))
}

/// The place of the namespace of this region that starts at this address.
pub(super) fn place(region: &str, start: u64) -> Option<NamespacePlace> {
    let region = region.strip_prefix("region")?.parse().ok()?;
    Some(NamespacePlace { start, region })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::inventory::{AttributeError, Holder};

    fn namespace() -> Namespace {
        let holder = Holder {
            name: "pfn3.0".to_owned(),
            map: Err(AttributeError::Absent),
            align: Err(AttributeError::Absent),
            uuid: Ok(Uuid::from_bytes([7; 16])),
            size: Ok(1 << 30),
            resource: Err(AttributeError::Denied),
        };
        Namespace {
            name: "namespace3.0".to_owned(),
            region: "region3".to_owned(),
            mode: Ok(SysfsMode::Memory),
            size: Ok(1 << 30),
            resource: Ok(4 << 30),
            uuid: Err(AttributeError::Absent),
            holder: Ok(holder),
            label_class: Err(AttributeError::Absent),
            bound: false,
            system_ram: false,
        }
    }

    #[test]
    fn only_what_a_driver_has_taken_was_seen() {
        let place = NamespacePlace { start: 4 << 30, region: 3 };
        let uuid = KnownBlock::of_uuid([u64::from_ne_bytes([7; 8]); 2]);
        assert_eq!(block(&namespace()), Some((place, uuid)));
        let raw = Namespace { bound: true, holder: Err(AttributeError::Empty), ..namespace() };
        assert_eq!(block(&raw), Some((place, KnownBlock::NONE)));
        let disabled = Namespace { bound: false, ..raw };
        assert_eq!(block(&disabled), None);
    }

    #[test]
    fn what_cannot_be_read_is_unseen() {
        let denied = || Err(AttributeError::Denied);
        assert_eq!(block(&Namespace { resource: Err(AttributeError::Failed(5)), ..namespace() }), None);
        let mut no_uuid = namespace();
        if let Ok(holder) = &mut no_uuid.holder {
            holder.uuid = denied().map(|(): ()| Uuid::nil());
        }
        assert_eq!(block(&no_uuid), None);
        assert_eq!(block(&Namespace { region: "another".to_owned(), ..namespace() }), None);
    }

    /// Two regions with the same start do not share what is known of one of them.
    #[test]
    fn a_place_is_in_a_region() {
        let [first, second] = ["region3", "region4"].map(|region| place(region, 4 << 30));
        assert!(first.is_some() && first != second);
    }
}
