//! The event of a namespace that existed before observation began.

use pfnwatch_common::Map;
use uuid::Uuid;

use crate::analysis::event_assessment::judgement;
use crate::model::event::ExistingNamespace;
use crate::model::scan_result::AssessedNamespace;
use crate::model::verdict::Verdict;

/// The event of a namespace that existed when observation began; `None` if it has no map=dev, and is not refused either.
#[must_use]
pub fn existing_namespace(judged: &AssessedNamespace) -> Option<ExistingNamespace> {
    let AssessedNamespace { namespace, facts, assessment, .. } = judged;
    if judged.map() != Some(Map::Dev) && assessment.verdict != Verdict::Refused {
        return None;
    }
    let holder = namespace.holder.as_ref().ok();
    let block = judged.block();
    Some(ExistingNamespace {
        namespace: namespace.name.clone(),
        namespace_uuid: namespace.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: facts.start,
        size_bytes: facts.size,
        device: holder.map(|holder| holder.name.clone()),
        region: namespace.region.clone(),
        personality: judged.mode(),
        map: judged.map(),
        align_bytes: facts.align.or_else(|| block.map(|block| block.align)),
        block_uuid: block
            .map(|block| Uuid::from_bytes(block.uuid))
            .or_else(|| holder.and_then(|holder| holder.uuid.clone().ok())),
        enabled: facts.enabled,
        reservation_bytes: assessment.numbers.reservation,
        usable_bytes: assessment.numbers.usable,
        page_struct_size_bytes: block.map(|block| block.page_struct_size.into()),
        judgement: judgement(assessment.clone()),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use pfnwatch_common::InfoBlock;

    use super::*;
    use crate::model::event::{BlockOrigin, Body, Event, NamespaceId, Time};
    use crate::model::info_block::SavedInfoBlock;
    use crate::model::inventory::{AttributeError, InfoBlocks, Inventory, Namespace, SysfsMode};
    use crate::model::kernel::KernelFacts;
    use crate::model::scan_result::ScanResult;
    use crate::model::thresholds::Thresholds;
    use crate::model::verdict::{Cause, Evidence};
    use crate::sysfs::inventory::SysfsRoots;
    use crate::testing::tree::{Pmem, Tree};

    const GIB: u64 = 1 << 30;

    /// Two namespaces with map=dev, one with map=mem and a raw one; the first one's block was read as well.
    fn inventory() -> (Inventory, InfoBlocks) {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = Tree::new(folder.path()).expect("a tree");
        tree.region(0, 4 * GIB, 128 * GIB).expect("a region");
        for pmem in [
            Pmem { struct_page: 128, ..Pmem::default() },
            Pmem { id: 1, start: 20 * GIB, dax: true, ..Pmem::default() },
            Pmem { id: 2, start: 36 * GIB, map: "ram", ..Pmem::default() },
        ] {
            tree.namespace(&pmem).expect("a namespace");
        }
        tree.unclaimed("namespace0.3", "raw", GIB).expect("a raw namespace");
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
        let inventory = Inventory::read(&roots).expect("an inventory");
        let first = &inventory.namespaces[0];
        let block = InfoBlock {
            parent_uuid: first.uuid.clone().map_or([0; 16], Uuid::into_bytes),
            npfns: (16 * GIB - (514 << 20)) / 4096,
            ..InfoBlock::sample(514 << 20, 128)
        };
        let mut blocks = InfoBlocks::default();
        blocks.insert(&first.name, block.encode());
        (inventory, blocks)
    }

    pub(crate) fn scanned() -> Vec<AssessedNamespace> {
        let (inventory, blocks) = inventory();
        ScanResult::assess(inventory, &blocks, KernelFacts::sample(), &Thresholds::default()).namespaces
    }

    #[test]
    fn one_for_each_namespace_with_map_dev() {
        let found: Vec<_> = scanned().iter().filter_map(existing_namespace).collect();
        let names: Vec<_> = found.iter().map(|it| (it.namespace.as_str(), it.personality)).collect();
        assert_eq!(names, [("namespace0.0", "fsdax"), ("namespace0.1", "devdax")]);
        let [regressed, good] = &found[..] else { panic!("two") };
        assert_eq!(
            (regressed.judgement.verdict, regressed.judgement.cause),
            (Verdict::Oversize, Cause::RegressedKernel)
        );
        assert_eq!((regressed.reservation_bytes, regressed.judgement.excess_bytes), (Some(514 << 20), Some(256 << 20)));
        assert_eq!(
            (regressed.page_struct_size_bytes, regressed.block_uuid),
            (Some(128), Some(Uuid::from_bytes([7; 16])))
        );
        assert_eq!(regressed.judgement.evidence, Some(Evidence::InfoBlock));
        assert_eq!((good.judgement.verdict, good.page_struct_size_bytes), (Verdict::Ok, None));
        assert!(good.enabled && regressed.enabled);
    }

    /// A piece of a memmap= range that the kernel cannot map, and a saved block that it does not take.
    #[test]
    fn a_refused_namespace_is_reported_with_the_kernels_reason() {
        let (inventory, _) = inventory();
        let [first, ..] = inventory.namespaces.as_slice() else { panic!("{inventory:?}") };
        let disabled =
            Namespace { holder: Err(AttributeError::Empty), uuid: Err(AttributeError::Absent), ..first.clone() };
        let piece = Namespace { size: Ok(16384), ..disabled.clone() };
        let raw = Namespace { mode: Ok(SysfsMode::Raw), ..disabled };
        let block = InfoBlock { parent_uuid: [0; 16], ..InfoBlock::sample(514 << 20, 32) };
        let id = NamespaceId {
            namespace: raw.name.clone(),
            namespace_uuid: None,
            start_address: raw.resource.clone().expect("an address"),
            size_bytes: 16 * GIB,
        };
        let seen = Time(std::time::UNIX_EPOCH);
        let saved = SavedInfoBlock::new(id, Box::new(block.encode()), BlockOrigin::Read, seen).expect("a block");
        for (namespace, reason) in [(piece, "unable to map"), (raw, "struct page size mismatch")] {
            let mut blocks = InfoBlocks::default();
            blocks.add_saved(std::slice::from_ref(&namespace), [&saved]);
            let inventory = Inventory { namespaces: vec![namespace], ..Inventory::default() };
            let scan = ScanResult::assess(inventory, &blocks, KernelFacts::sample(), &Thresholds::default());
            let event = existing_namespace(&scan.namespaces[0]).expect("an event");
            assert_eq!((event.judgement.verdict, event.enabled), (Verdict::Refused, false));
            assert!(event.judgement.detail.contains(reason), "{}", event.judgement.detail);
        }
    }

    #[test]
    fn the_json_says_what_it_costs() {
        let all = scanned();
        let found = existing_namespace(&all[0]).expect("map=dev");
        let event = Event::at(Time(std::time::UNIX_EPOCH), Body::ExistingNamespace(Box::new(found)));
        let json = serde_json::to_value(&event).expect("JSON");
        for (key, value) in
            [("event", "existing_namespace"), ("verdict", "oversize"), ("map", "dev"), ("evidence", "info_block")]
        {
            assert_eq!(json.get(key), Some(&value.into()), "{key}");
        }
    }
}
