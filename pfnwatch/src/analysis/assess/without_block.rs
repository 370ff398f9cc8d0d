//! Namespaces in devdax or fsdax mode that have no info block, and that the kernel maps whole all the same.
//!
//! As proposed upstream: a block in the kernel's memory replaces the one that is missing, with map=mem and dataoff 0. No
//! kernel writes a block that reserves less than the 8 KiB that hold it.

use pfnwatch_common::Map;

use crate::analysis::memmap::{MappedNamespace, dram_bytes};
use crate::model::facts::{Facts, KernelParameters};
use crate::model::verdict::{Assessment, Cause, Numbers, Verdict};

/// By its block, or by what sysfs shows if that was not read: nothing of it is reserved.
pub(super) fn is_mapped_whole(facts: &Facts) -> bool {
    match &facts.block {
        Some(block) => block.is_virtual(),
        None => {
            let starts_at_once = facts.first_usable.is_none_or(|first| facts.start == Some(first));
            facts.map == Some(Map::Mem) && facts.size.is_some() && facts.usable == facts.size && starts_at_once
        }
    }
}

pub(super) fn assess(facts: &Facts, host: &KernelParameters) -> Assessment {
    let usable = facts.usable.or(facts.size);
    let numbers = Numbers {
        size: facts.size,
        usable,
        reservation: Some(0),
        end_trunc: facts.size.zip(usable).and_then(|(size, usable)| size.checked_sub(usable)),
        ideal: Some(0),
        excess: Some(0),
        unused: Some(0),
        dram: dram(facts, usable, host),
    };
    let detail = "it has no info block: mapped whole, its memmap is in DRAM".to_owned();
    Assessment { verdict: Verdict::Ok, cause: Cause::None, detail, evidence: None, numbers, hints: Vec::new() }
}

fn dram(facts: &Facts, usable: Option<u64>, host: &KernelParameters) -> Option<u64> {
    match (facts.enabled, facts.system_ram) {
        (false, _) => Some(0),
        // What system RAM takes depends on memory blocks.
        (true, true) => None,
        (true, false) => {
            let align = facts.align.or_else(|| facts.block.map(|block| block.align))?;
            let mapped = MappedNamespace { mode: facts.mode, map: None, start: facts.start, size: usable?, align };
            dram_bytes(&mapped, host)
        }
    }
}
