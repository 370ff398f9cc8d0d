//! Which info block the guard is to know of on a namespace, as the inventory has it. Pure.

use pfnwatch_common::guard::UNKNOWN_BLOCK;

use crate::model::inventory::{Namespace, SysfsMode};

/// The start of the namespace and the uuid of its block: [`UNSEEN`] where nobody has looked at it, and none where there is
/// nothing to know: no block, or no address.
pub(super) fn block(namespace: &Namespace) -> Option<(u64, [u8; 16])> {
    let start = namespace.resource.clone().ok()?;
    let block = match (&namespace.holder, &namespace.mode) {
        // A driver is bound that has found the block valid, or made it.
        (Ok(holder), Ok(SysfsMode::Memory | SysfsMode::Dax)) if holder.enabled() => {
            holder.uuid.clone().map_or(UNKNOWN_BLOCK, uuid::Uuid::into_bytes)
        }
        // A btt has no such block, and what is enabled raw may be written over.
        (Ok(holder), _) if holder.enabled() && holder.name.starts_with("btt") => return None,
        _ if namespace.bound => return None,
        _ => UNKNOWN_BLOCK,
    };
    Some((start, block))
}
