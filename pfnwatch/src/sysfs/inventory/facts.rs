//! Converts a namespace's attributes in sysfs to the facts that are judged.

use crate::model::inventory::InfoBlocks;

use pfnwatch_common::InfoBlock;
use pfnwatch_common::superblock::SuperblockKind;

use crate::model::facts::{Facts, NamespaceMode, Obstacle};
use crate::model::inventory::{AttributeError, Holder, Namespace, SysfsMode};

#[must_use]
pub fn facts(namespace: &Namespace, blocks: &InfoBlocks) -> Facts {
    let mut facts = Facts {
        start: namespace.resource.clone().ok(),
        size: namespace.size.clone().ok(),
        system_ram: namespace.system_ram,
        ..Facts::new(mode(namespace))
    };
    let block = blocks.parsed(&namespace.name);
    facts.obstacle = match (obstacle(namespace, &facts), block) {
        // Enabled raw, or not at all: the block on its media shows what it would be.
        (None | Some(Obstacle::Disabled { .. }), Some(block)) if !is_enabled(namespace) => {
            facts.mode = mode_of(&block);
            facts.block = Some(block);
            None
        }
        (Some(obstacle @ Obstacle::Disabled { .. }), _) => {
            facts.refusal = blocks.logged(&namespace.name);
            facts.saved_block = blocks.saved(&namespace.name);
            facts.mode = facts.saved_block.as_ref().map_or(facts.mode, |(block, _)| mode_of(block));
            Some(obstacle)
        }
        (Some(obstacle), _) => Some(obstacle),
        (None, block) => {
            let holder = namespace.holder.as_ref().ok().filter(|_| facts.mode.reserves());
            holder.and_then(|holder| fill(&mut facts, holder, block))
        }
    };
    facts
}

const fn mode_of(block: &InfoBlock) -> NamespaceMode {
    match block.kind {
        SuperblockKind::Dax => NamespaceMode::Devdax,
        SuperblockKind::Pfn => NamespaceMode::Fsdax,
    }
}

fn is_enabled(namespace: &Namespace) -> bool {
    namespace.holder.as_ref().is_ok_and(Holder::enabled)
}

/// The mode that users see. An unclaimed `memory` namespace is mapped whole.
fn mode(namespace: &Namespace) -> NamespaceMode {
    match (&namespace.mode, &namespace.holder) {
        (Ok(SysfsMode::Memory), Err(AttributeError::Empty)) => NamespaceMode::Whole,
        (Ok(mode), _) => claimed_as(*mode),
        (Err(_), _) => NamespaceMode::Raw,
    }
}

const fn claimed_as(mode: SysfsMode) -> NamespaceMode {
    match mode {
        SysfsMode::Memory => NamespaceMode::Fsdax,
        SysfsMode::Dax => NamespaceMode::Devdax,
        SysfsMode::Safe => NamespaceMode::Sector,
        SysfsMode::Raw => NamespaceMode::Raw,
    }
}

fn obstacle(namespace: &Namespace, facts: &Facts) -> Option<Obstacle> {
    let name = &namespace.name;
    if let Err(why) = &namespace.mode {
        return Some(unreadable(name, "mode", why));
    }
    if let Err(why) = &namespace.size {
        return Some(unreadable(name, "size", why));
    }
    if let Err(why @ AttributeError::Malformed(_)) = &namespace.resource {
        return Some(unreadable(name, "resource", why));
    }
    match &namespace.holder {
        Ok(holder) if facts.mode.reserves() && !holder.enabled() => match &holder.size {
            Err(AttributeError::Unbound) => Some(Obstacle::Disabled { label: None }),
            Err(why) => Some(unreadable(&holder.name, "size", why)),
            Ok(_) => None,
        },
        Err(why) if facts.mode.reserves() => Some(unreadable(name, "holder", why)),
        // Raw and bound is raw; raw and unbound may be anything that is merely disabled.
        Err(_) if !namespace.bound && matches!(facts.mode, NamespaceMode::Raw | NamespaceMode::Whole) => {
            let label = namespace.label_class.as_ref().ok();
            Some(Obstacle::Disabled { label: label.map(|class| claimed_as(*class)) })
        }
        _ => None,
    }
}

/// What the holder knows; an obstacle if its attributes make no sense. What only root may read stays unknown without one.
fn fill(facts: &mut Facts, holder: &Holder, block: Option<InfoBlock>) -> Option<Obstacle> {
    facts.enabled = holder.enabled();
    facts.block = block;
    facts.usable = holder.size.clone().ok();
    facts.first_usable = holder.resource.clone().ok();
    let bad = |attribute, why: &AttributeError| Some(unreadable(&holder.name, attribute, why));
    match &holder.map {
        Ok(map) => facts.map = *map,
        Err(why) => return bad("mode", why),
    }
    match &holder.align {
        Ok(align) => facts.align = Some(*align),
        Err(why) => return bad("align", why),
    }
    match &holder.resource {
        Err(why @ AttributeError::Malformed(_)) => bad("resource", why),
        _ => None,
    }
}

fn unreadable(device: &str, attribute: &str, why: &AttributeError) -> Obstacle {
    match why {
        AttributeError::Vanished => Obstacle::Vanished,
        AttributeError::Busy(since) => Obstacle::Unreadable(format!("{device} is being bound since {since}")),
        why => Obstacle::Unreadable(format!("{device}/{attribute}: {why}")),
    }
}
