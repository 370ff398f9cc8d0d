//! The inventory over generated trees: good ones, and what broken kernels or bad luck could show.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::testing::tree::{Pmem, Tree};
use pfnwatch_common::superblock::{self, SuperblockKind};
use pfnwatch_common::{InfoBlock, Map};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::analysis::assess::assess;
use crate::model::aligns::Aligns;
use crate::model::event::{BlockOrigin, NamespaceId, Time};
use crate::model::facts::{KernelParameters, NamespaceMode, Obstacle};
use crate::model::info_block::SavedInfoBlock;
use crate::model::inventory::SysfsMode;
use crate::model::thresholds::Thresholds;
use crate::model::verdict::{Assessment, Cause, Evidence, Verdict};
use crate::model::why::LogRecord;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn tree() -> (TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    (folder, tree)
}

fn read(folder: &TempDir) -> Inventory {
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    Inventory::read(&roots).unwrap()
}

fn verdict(folder: &TempDir, name: &str) -> Assessment {
    let inventory = read(folder);
    let namespace = inventory.namespaces.iter().find(|namespace| namespace.name == name).unwrap();
    assess(&facts::facts(namespace, &InfoBlocks::default()), &host(), &Thresholds::default())
}

fn host() -> KernelParameters {
    KernelParameters { max_struct_page: None, allows_empty: None, deduplicates: None, ..KernelParameters::SAMPLE }
}

#[test]
fn a_host_without_libnvdimm_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = read(&folder);
    assert!(inventory.regions.is_empty() && inventory.namespaces.is_empty());
}

#[test]
fn everything_of_a_namespace_and_its_claimer() {
    let (folder, tree) = tree();
    tree.region(0, 4 * GIB, 256 * GIB).unwrap();
    let pmem = Pmem { dax: true, map: "ram", align: GIB, ..Pmem::default() };
    tree.namespace(&pmem).unwrap();
    tree.dax_driver(&pmem, "kmem").unwrap();
    let inventory = read(&folder);
    let [namespace] = inventory.namespaces.as_slice() else { panic!("{inventory:?}") };
    let holder = namespace.holder.clone().unwrap();
    assert_eq!((namespace.mode.clone(), holder.map.clone()), (Ok(SysfsMode::Dax), Ok(Some(Map::Mem))));
    assert_eq!((namespace.size.clone(), namespace.resource.clone()), (Ok(16 * GIB), Ok(4 * GIB)));
    assert_eq!((holder.size, holder.resource), (Ok(15 * GIB), Ok(5 * GIB)));
    assert_eq!((holder.name.as_str(), holder.align), ("dax0.1", Ok(GIB)));
    assert_ne!(namespace.uuid, holder.uuid);
    assert!(namespace.system_ram && !namespace.bound);
    assert_eq!((namespace.disk().as_deref(), namespace.character_device().as_deref()), (Some("pmem0"), Some("dax0.0")));
    let region = inventory.regions.iter().find(|region| region.name == namespace.region).unwrap();
    assert_eq!((region.align.clone(), region.set_cookie.clone()), (Ok(16 * MIB), Ok(0xdead_beef)));
    assert!(region.enabled && !region.locked && !region.is_label_less() && region.read_only == Ok(false));
    assert_eq!(region.pfn_seed.as_deref(), Ok("pfn0.0"));
}

#[test]
fn seeds_are_left_out_and_the_rest_is_in_order() {
    let (folder, tree) = tree();
    for id in [10, 2, 1] {
        tree.region(id, 4 * GIB, 64 * GIB).unwrap();
        tree.namespace(&Pmem { region: id, id: 11, ..Pmem::default() }).unwrap();
        tree.namespace(&Pmem { region: id, id: 3, ..Pmem::default() }).unwrap();
    }
    let names: Vec<_> = read(&folder).namespaces.into_iter().map(|namespace| namespace.name).collect();
    let wanted = ["1.3", "1.11", "2.3", "2.11", "10.3", "10.11"].map(|ids| format!("namespace{ids}"));
    assert_eq!(names, wanted);
}

#[test]
fn many_namespaces_are_all_read_and_in_order() {
    let (folder, tree) = tree();
    tree.crowd(300).unwrap();
    let inventory = read(&folder);
    let ids: Vec<_> = inventory
        .namespaces
        .iter()
        .map(|namespace| {
            namespace.name[9..]
                .split_once('.')
                .map(|(region, id)| (region.parse::<u32>().unwrap(), id.parse::<u32>().unwrap()))
                .unwrap()
        })
        .collect();
    assert_eq!(ids.len(), 300);
    assert!(ids.is_sorted());
}

#[test]
fn verdicts_from_sysfs_alone() {
    let (folder, tree) = tree();
    let regressed = Pmem { struct_page: 128, ..Pmem::default() };
    tree.namespace(&regressed).unwrap();
    let coarse = Pmem { id: 1, align: GIB, struct_page: 128, ..Pmem::default() };
    tree.namespace(&coarse).unwrap();
    let system_ram = Pmem { id: 2, dax: true, ..Pmem::default() };
    tree.namespace(&system_ram).unwrap();
    tree.dax_driver(&system_ram, "kmem").unwrap();
    tree.unclaimed("namespace1.0", "memory", GIB).unwrap();
    tree.unclaimed("namespace1.1", "raw", GIB).unwrap();
    let got = verdict(&folder, "namespace0.0");
    assert_eq!(
        (got.verdict, got.cause, got.evidence),
        (Verdict::Oversize, Cause::RegressedKernel, Some(Evidence::Sysfs))
    );
    assert_eq!((got.numbers.reservation, got.numbers.excess), (Some(regressed.dataoff()), Some(256 * MIB)));
    let causes = ["namespace0.1", "namespace0.2", "namespace1.0", "namespace1.1"].map(|name| {
        let got = verdict(&folder, name);
        assert_eq!(got.verdict, Verdict::Ok, "{name} {got:?}");
        got.cause
    });
    assert_eq!(causes, [Cause::Rounding, Cause::SystemRam, Cause::None, Cause::None]);
}

/// Each bad attribute ends as unknown, with its name in the reason and without any number but the size.
#[test]
fn bad_attributes_are_unknown_with_their_name() {
    let bad = ["", "-1", "junk", "0x", "99999999999999999999999999", "\u{0}\u{1}", "../../../../etc/passwd"];
    for value in bad {
        for (device, attribute) in [
            ("namespace0.0", "mode"),
            ("namespace0.0", "size"),
            ("pfn0.1", "mode"),
            ("pfn0.1", "align"),
            ("pfn0.1", "size"),
        ] {
            let (folder, tree) = tree();
            tree.namespace(&Pmem::default()).unwrap();
            tree.write(device, &[(attribute, value)]).unwrap();
            let got = verdict(&folder, "namespace0.0");
            assert_eq!(got.verdict, Verdict::Unknown, "{device}/{attribute}={value:?} {got:?}");
            assert!(got.detail.contains(&format!("{device}/{attribute}")), "{got:?}");
            assert_eq!((got.numbers.reservation, got.numbers.excess), (None, None));
            fs::remove_file(tree.device(device).join(attribute)).unwrap();
            let got = verdict(&folder, "namespace0.0");
            assert!(got.detail.contains(&format!("{device}/{attribute}: missing")), "{got:?}");
        }
    }
}

#[test]
fn a_bad_address_is_unknown_and_a_hidden_one_is_inferred() {
    let (folder, tree) = tree();
    tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() }).unwrap();
    for device in ["namespace0.0", "pfn0.1"] {
        tree.write(device, &[("resource", "-5")]).unwrap();
        assert!(verdict(&folder, "namespace0.0").detail.contains(&format!("{device}/resource")));
        fs::remove_file(tree.device(device).join("resource")).unwrap();
    }
    let got = verdict(&folder, "namespace0.0");
    assert_eq!(
        (got.verdict, got.evidence, got.numbers.excess),
        (Verdict::Oversize, Some(Evidence::Inferred), Some(256 * MIB))
    );
}

#[test]
fn a_claimer_that_vanished_or_is_nonsense() {
    let (folder, tree) = tree();
    tree.namespace(&Pmem::default()).unwrap();
    fs::remove_dir_all(tree.device("pfn0.1")).unwrap();
    assert!(verdict(&folder, "namespace0.0").detail.contains("vanished"));
    tree.write("namespace0.0", &[("holder", "../../../etc")]).unwrap();
    let got = verdict(&folder, "namespace0.0");
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("namespace0.0/holder"), "{got:?}");
}

#[test]
fn disabled_namespaces_are_unknown() {
    let (folder, tree) = tree();
    tree.unclaimed("namespace0.0", "raw", GIB).unwrap();
    fs::remove_file(tree.device("namespace0.0").join("driver")).unwrap();
    let got = verdict(&folder, "namespace0.0");
    assert!(got.verdict == Verdict::Unknown && got.detail.contains("disabled"), "{got:?}");
}

#[test]
fn a_locked_region_is_said_to_be() {
    let (folder, tree) = tree();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    fs::remove_file(tree.device("region0").join("driver")).unwrap();
    tree.write("region0", &[("mapping0", "nmem0,0,68719476736,0")]).unwrap();
    tree.write("nmem0", &[("security", "locked")]).unwrap();
    let inventory = read(&folder);
    assert!(inventory.regions[0].locked && !inventory.regions[0].enabled);
}

/// The block of a namespace that a kernel with 128 bytes a page made.
fn regressed_block(pmem: &Pmem) -> InfoBlock {
    InfoBlock {
        uuid: [1; 16],
        parent_uuid: [2; 16],
        npfns: pmem.usable() / 4096,
        align: pmem.align,
        ..InfoBlock::sample(pmem.dataoff(), 128)
    }
}

/// Enabled raw, with a block on its media that root can read: assessed as it will be once it is enabled again.
#[test]
fn a_raw_device_shows_the_block_on_its_media() {
    let (folder, tree) = tree();
    tree.unclaimed("namespace0.0", "raw", 16 * GIB).unwrap();
    let dev = tempfile::tempdir().unwrap();
    let pmem = Pmem { struct_page: 128, ..Pmem::default() };
    fs::write(dev.path().join("pmem0"), [vec![0; 4096], regressed_block(&pmem).encode().to_vec()].concat()).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().into(), procfs: folder.path().into(), dev: Some(dev.path().into()) };
    let inventory = Inventory::read(&roots).unwrap();
    let judged = facts::facts(&inventory.namespaces[0], &inventory.blocks_on_raw_devices(&roots));
    assert_eq!((judged.mode, judged.obstacle.clone(), judged.enabled), (NamespaceMode::Fsdax, None, false));
    let got = assess(&judged, &host(), &Thresholds::default());
    assert_eq!(
        (got.verdict, got.cause, got.evidence),
        (Verdict::Oversize, Cause::RegressedKernel, Some(Evidence::InfoBlock))
    );
    fs::write(dev.path().join("pmem0"), [1; 100]).unwrap();
    assert!(inventory.blocks_on_raw_devices(&roots).raw("namespace0.0").is_none(), "a device that is too short");
}

#[test]
fn an_exact_block_is_taken_where_there_is_one() {
    let (folder, tree) = tree();
    let pmem = Pmem { struct_page: 128, ..Pmem::default() };
    tree.namespace(&pmem).unwrap();
    let block = regressed_block(&pmem);
    let mut blocks = InfoBlocks::default();
    blocks.insert("namespace0.0", block.encode());
    let inventory = read(&folder);
    assert_eq!(facts::facts(&inventory.namespaces[0], &blocks).block, Some(block));
    // A kernel believes no block with a wrong checksum, and neither do we.
    let mut broken = block.encode();
    broken[100] ^= 1;
    blocks.insert("namespace0.0", broken);
    let facts = facts::facts(&inventory.namespaces[0], &blocks);
    assert_eq!((facts.block, facts.mode, facts.obstacle), (None, NamespaceMode::Fsdax, None::<Obstacle>));
}

/// The block that a disabled namespace with this uuid had when it was last seen.
fn saved(block: InfoBlock) -> SavedInfoBlock {
    let namespace = NamespaceId {
        namespace: "namespace7.7".to_owned(),
        namespace_uuid: Some(Uuid::from_bytes([9; 16])),
        start_address: 4 * GIB,
        size_bytes: GIB,
    };
    let seen = Time(std::time::UNIX_EPOCH);
    SavedInfoBlock::new(namespace, Box::new(block.encode()), BlockOrigin::Read, seen).unwrap()
}

#[test]
fn a_disabled_namespace_whose_saved_block_the_kernel_does_not_take_is_refused() {
    let (folder, tree) = tree();
    let uuid = Uuid::from_bytes([9; 16]).to_string();
    let attributes = [("mode", "raw"), ("size", "1073741824"), ("resource", "0x100000000"), ("holder", "")];
    tree.write("namespace0.0", &attributes).unwrap();
    tree.write("namespace0.0", &[("uuid", &uuid), ("holder_class", "dax")]).unwrap();
    let inventory = read(&folder);
    let judged = |saved: SavedInfoBlock| {
        let mut blocks = InfoBlocks::default();
        blocks.add_saved(&inventory.namespaces, &[saved]);
        let host = KernelParameters { aligns: Some(Aligns::X86_64), ..host() };
        assess(&facts::facts(&inventory.namespaces[0], &blocks), &host, &Thresholds::default())
    };
    let sound = InfoBlock::sample(18 * MIB, 64);
    for (block, reason) in [
        (InfoBlock { page_struct_size: 32, ..sound }, "struct page size mismatch"),
        (InfoBlock { page_size: Some(65536), ..sound }, "page size mismatch"),
        (InfoBlock { align: 16 * MIB, dataoff: 32 * MIB, kind: SuperblockKind::Dax, ..sound }, "alignment mismatch"),
    ] {
        let got = judged(saved(block));
        assert_eq!((got.verdict, got.numbers.dram), (Verdict::Refused, Some(0)), "{}", got.detail);
        assert!(got.detail.contains(reason) && got.detail.contains("1970-01-01T00:00:00Z"), "{}", got.detail);
    }
    let got = judged(saved(sound));
    assert_eq!(got.verdict, Verdict::Unknown, "somebody has disabled it");
    assert!(got.detail.ends_with("(its label: devdax)"), "{}", got.detail);
    let wide = InfoBlock { page_struct_size: 32, ..sound };
    let unsure = [
        SavedInfoBlock { raw_since: true, ..saved(wide) },
        SavedInfoBlock { destroyed: true, ..saved(wide) },
        SavedInfoBlock { namespace: NamespaceId { size_bytes: 2 * GIB, ..saved(wide).namespace }, ..saved(wide) },
        SavedInfoBlock { namespace: NamespaceId { namespace_uuid: None, ..saved(wide).namespace }, ..saved(wide) },
    ];
    for block in unsure {
        assert_eq!(judged(block).verdict, Verdict::Unknown, "it may have another block by now");
    }
}

/// `memmap=4G!3G` over holes: five regions, of which the kernel maps the last alone.
#[test]
fn regions_of_a_memmap_range_that_crosses_holes_are_refused() {
    let (folder, tree) = tree();
    let sizes = ["1053933568", "16384", "19529728", "262144", "3221225472"];
    for (id, size) in sizes.iter().enumerate() {
        tree.write(&format!("namespace{id}.0"), &[("mode", "memory"), ("size", size), ("holder", "")]).unwrap();
    }
    for id in 0..4 {
        let got = verdict(&folder, &format!("namespace{id}.0"));
        assert_eq!(got.verdict, Verdict::Refused, "{}", got.detail);
        assert!(got.detail.contains("\"misaligned, unable to map\"") && got.detail.contains("crosses holes"));
    }
    assert_eq!(verdict(&folder, "namespace4.0").verdict, Verdict::Unknown, "its size fits: somebody has disabled it");
    tree.write("namespace4.0", &[("resource", "0x100004000")]).unwrap();
    assert_eq!(verdict(&folder, "namespace4.0").verdict, Verdict::Refused, "its start does not");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// Whatever the attributes contain: no panic, and a verdict.
    #[test]
    fn no_tree_panics(
        contents in proptest::collection::vec("\\PC{0,40}", 9),
    ) {
        let (folder, tree) = tree();
        tree.region(0, 4 * GIB, 64 * GIB).unwrap();
        tree.namespace(&Pmem::default()).unwrap();
        for (content, (device, attribute)) in contents.iter().zip([
            ("namespace0.0", "uuid"), ("namespace0.0", "holder"), ("namespace0.0", "resource"), ("pfn0.1", "uuid"),
            ("pfn0.1", "resource"), ("region0", "size"), ("region0", "mappings"), ("region0", "pfn_seed"), ("pfn0.1", "align"),
        ]) {
            tree.write(device, &[(attribute, content)]).unwrap();
        }
        let _ = verdict(&folder, "namespace0.0");
    }
}

#[test]
fn an_observed_block_counts_by_its_address_uuid_and_checksum() {
    let (folder, tree) = tree();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    tree.namespace(&Pmem::default()).unwrap();
    let inventory = read(&folder);
    let [namespace] = inventory.namespaces.as_slice() else { panic!("{inventory:?}") };
    let (start, uuid) = namespace.block_in_use().unwrap();
    let block = InfoBlock { uuid: uuid.into_bytes(), ..InfoBlock::sample(2 * MIB, 64) };
    let added = |start, block: &[u8; superblock::SIZE]| {
        let mut blocks = InfoBlocks::default();
        add_observed(&[ObservedBlock::new(start, block)], &inventory, &mut blocks);
        blocks.raw(&namespace.name).copied()
    };
    assert_eq!(added(start, &block.encode()), Some(block.encode()));
    assert_eq!(added(start + 2 * MIB, &block.encode()), None, "another namespace's");
    let earlier = InfoBlock { uuid: [7; 16], ..block };
    assert_eq!(added(start, &earlier.encode()), None, "the one before");
    let mut torn = block.encode();
    torn[40] ^= 1;
    assert_eq!(added(start, &torn), None, "its checksum is wrong");
}

/// What the kernel logged in this boot goes before the saved block, and that before the label.
#[test]
fn a_disabled_namespace_is_explained_by_what_the_kernel_logged() {
    let (folder, tree) = tree();
    for (name, uuid) in [("namespace0.0", 9), ("namespace0.1", 8)] {
        let uuid = Uuid::from_bytes([uuid; 16]).to_string();
        let attributes = [("mode", "raw"), ("size", "1073741824"), ("resource", "0x100000000"), ("holder", "")];
        tree.write(name, &attributes).unwrap();
        tree.write(name, &[("uuid", &uuid), ("holder_class", "dax")]).unwrap();
    }
    let inventory = read(&folder);
    let boot = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let line = |ms, text: &str| LogRecord { since_boot: Some(Duration::from_millis(ms)), text: text.to_owned() };
    let assessed = |log: &[LogRecord], seen: Option<u64>| {
        let mut blocks = InfoBlocks::default();
        let at = |seconds| Time(boot + Duration::from_secs(seconds));
        let saved = seen.map(|seen| SavedInfoBlock { last_seen: at(seen), ..saved(InfoBlock::sample(18 * MIB, 64)) });
        blocks.add_saved(&inventory.namespaces, &saved);
        blocks.add_logged(&inventory.namespaces, &of_log(log, Some(boot)));
        let of = |namespace| assess(&facts::facts(namespace, &blocks), &host(), &Thresholds::default());
        inventory.namespaces.iter().map(of).collect::<Vec<_>>()
    };
    let log = [
        line(1000, "nd_pmem pfn0.1: init failed, struct page size mismatch 32"),
        line(1000, "nd_pmem namespace0.0: probe with driver nd_pmem failed with error -95"),
    ];
    for seen in [None, Some(0), Some(1)] {
        let [first, second] = &assessed(&log, seen)[..] else { panic!("two namespaces") };
        assert_eq!((first.verdict, second.verdict), (Verdict::Refused, Verdict::Unknown), "{first:?}, {second:?}");
        for part in ["reserves 32 bytes for each page", "page size mismatch 32\" (kernel log of 1970-01-12T13:46:41"] {
            assert!(first.detail.contains(part), "{part}: {}", first.detail);
        }
        assert!(second.detail.contains("ndctl read-infoblock"), "{}", second.detail);
    }
    // It was enabled since, or nothing was logged: its block fits this kernel, and somebody has disabled it.
    for (log, seen) in [(&log[..], Some(60)), (&[], Some(0)), (&[], None)] {
        assert_eq!(assessed(log, seen)[0].verdict, Verdict::Unknown, "{seen:?}");
    }
    // What may pass is no refusal.
    let busy = [
        line(1000, "nd_pmem pfn0.1: could not reserve region [mem 0x140000000-0x17fffffff flags 0x200]"),
        line(1000, "nd_pmem namespace0.0: probe with driver nd_pmem failed with error -16"),
    ];
    assert_eq!(assessed(&busy, None)[0].verdict, Verdict::Unknown);
}
