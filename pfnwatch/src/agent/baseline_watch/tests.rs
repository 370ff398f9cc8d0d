//! Over real event stores: what one agent has learned, the next one knows.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::inventory::{InfoBlocks, Inventory};
use crate::model::kernel::KernelFacts;
use crate::model::store::Settings;
use crate::model::thresholds::Thresholds;
use crate::sysfs::inventory::SysfsRoots;
use crate::testing::tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;
const NOW: SystemTime = UNIX_EPOCH;

pub(super) fn store(folder: impl AsRef<Path>) -> EventStore {
    EventStore::open(Settings { file: Some(folder.as_ref().join("store.db")), ..Settings::default() }, |_| {
        String::new()
    })
}

fn boot(number: u64, max: Option<u64>) -> BootRow {
    let seen = UNIX_EPOCH + Duration::from_secs(1_000_000 * number);
    BootRow {
        boot_id: format!("boot {number}"),
        module_build_id: None,
        release: format!("6.{number}"),
        struct_page_size: Some(64),
        max_struct_page_size: max,
        memmap_returned: None,
        evidence: Vec::new(),
        first_seen: seen,
        last_seen: seen,
        superseded: false,
        accepted: None,
    }
}

pub(super) fn began(body: Option<Body>) -> CapacityRegression {
    let Some(Body::CapacityRegression(capacity)) = body else { panic!("{body:?}") };
    *capacity
}

fn scanned(pmem: Option<Pmem>) -> ScanResult {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    if let Some(pmem) = pmem {
        tree.namespace(&pmem).unwrap();
    }
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    ScanResult::assess(
        Inventory::read(&roots).unwrap(),
        &InfoBlocks::default(),
        KernelFacts::sample(),
        &Thresholds::default(),
    )
}

#[test]
fn a_kernel_that_costs_more_is_reported_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |boots: &[BootRow]| {
        let mut store = store(&folder);
        let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
        let reported: Vec<_> = boots.iter().map(|boot| watch.observe_kernel(&mut store, boot.clone())).collect();
        (reported, watch.regressions().len())
    };
    assert_eq!(agent(&[boot(1, Some(64))]), (vec![None], 0), "nothing to hold it against");
    let (mut reported, standing) = agent(&[boot(2, None), boot(2, Some(128)), boot(2, Some(128))]);
    assert_eq!((reported.pop(), reported.len(), standing), (Some(None), 2, 1));
    let capacity = began(reported.pop().flatten());
    assert_eq!((capacity.lost_bytes, capacity.regression.before.kernel.as_str()), (16 * GIB, "6.1"));
    assert_eq!(agent(&[boot(2, Some(128))]), (vec![None], 1), "another agent in the same boot");
    assert_eq!(agent(&[boot(3, None)]), (vec![None], 1), "an unknown value does not resolve the regression");
    let (reported, standing) = agent(&[boot(3, Some(64))]);
    assert!(matches!(reported[0], Some(Body::CapacityRegressionEnded(_))) && standing == 0, "{reported:?}");
}

#[test]
fn another_libnvdimm_in_the_same_boot_is_another_kernel() {
    let mut store = EventStore::disabled();
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    let with = |id: &str, max| BootRow { module_build_id: Some(id.into()), ..boot(1, Some(max)) };
    assert_eq!(watch.observe_kernel(&mut store, with("aa", 64)), None);
    began(watch.observe_kernel(
        &mut store,
        BootRow { last_seen: UNIX_EPOCH + Duration::from_secs(2_000_000), ..with("bb", 128) },
    ));
}

#[test]
fn a_namespace_that_costs_more_than_under_the_agent_before() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |pmem| {
        let mut store = store(&folder);
        let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
        let mut reported = watch.observe_scan(&mut store, &scanned(pmem), NOW);
        assert_eq!(watch.observe_scan(&mut store, &scanned(None), NOW).len(), watch_ends(&reported), "gone");
        assert!(reported.len() < 2);
        reported.pop()
    };
    assert_eq!(agent(Some(Pmem::default())), None);
    let capacity = began(agent(Some(Pmem { struct_page: 128, ..Pmem::default() })));
    assert_eq!((capacity.lost_bytes, capacity.regression.before.reservation_bytes), (256 << 20, 258 << 20));
    assert_eq!(agent(Some(Pmem { map: "ram", ..Pmem::default() })), None);
}

/// What begins must end once nothing is there.
fn watch_ends(reported: &[Body]) -> usize {
    reported.iter().filter(|body| matches!(body, Body::CapacityRegression(_))).count()
}

#[test]
fn a_kernel_that_still_runs_is_seen_every_hour_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    let at = |minutes: u64| UNIX_EPOCH + Duration::from_secs(1_000_000 + 60 * minutes);
    watch.heartbeat(&mut store, at(0), true);
    assert_eq!(store.boots().unwrap(), [], "nothing is known of it yet");
    watch.observe_kernel(&mut store, boot(1, Some(64)));
    for (minutes, ends, seen) in [(59, false, 0), (60, false, 60), (119, false, 60), (119, true, 119), (10, false, 10)]
    {
        watch.heartbeat(&mut store, at(minutes), ends);
        let known = &store.boots().unwrap()[0];
        assert_eq!((known.last_seen, known.first_seen), (at(seen), at(0)), "{minutes}");
    }
}

pub(super) fn acceptance() -> Acceptance {
    Acceptance { by: "root".into(), reason: "ticket 7".into(), time: "2026-01-01T00:00:00Z".into() }
}

#[test]
fn a_host_that_was_accepted_stays_so_until_it_costs_even_more_or_less() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |number, max| {
        let mut store = store(&folder);
        let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
        let reported = watch.observe_kernel(&mut store, boot(number, max));
        (store, watch, reported)
    };
    let accepted = |number, max| {
        let (mut store, mut watch, _) = agent(number, max);
        let regression = watch.accept(&mut store, &BaselineScope::Host, acceptance());
        assert_eq!(watch.regressions(), []);
        regression.map(|it| it.lost_bytes())
    };
    assert_eq!(accepted(1, Some(64)), Err(AcceptError::NoRegression("the host".into())));
    assert_eq!(accepted(2, Some(128)), Ok(16 * GIB));
    // By the next agent, in the same boot and in others.
    for (number, max) in [(2, Some(128)), (3, Some(128)), (4, None), (5, Some(128))] {
        let (_, watch, reported) = agent(number, max);
        assert_eq!((reported, watch.regressions()), (None, vec![]), "boot {number}");
    }
    let (_, _, reported) = agent(6, Some(256));
    assert_eq!(began(reported).regression.before.max_struct_page_size_bytes, Some(128), "what was accepted");
    // A kernel that costs less was booted since.
    assert!(agent(7, Some(64)).2.is_some());
    assert_eq!(began(agent(8, Some(128)).2).regression.before.kernel, "6.7");
}

#[test]
fn what_the_agent_does_not_see_or_cannot_write_down_is_not_accepted() {
    let mut store = EventStore::disabled();
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    for (number, max) in [(1, Some(64)), (2, Some(128)), (3, None)] {
        watch.observe_kernel(&mut store, boot(number, max));
    }
    assert_eq!(watch.accept(&mut store, &BaselineScope::Host, acceptance()), Err(AcceptError::UnknownKernel));
    watch.observe_kernel(&mut store, boot(3, Some(128)));
    assert_eq!(watch.accept(&mut store, &BaselineScope::Host, acceptance()), Err(AcceptError::NotSaved));
    assert_eq!(watch.regressions().len(), 1, "the regression is unchanged");
}

#[test]
fn a_namespace_that_was_accepted_stays_so_over_agents() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |struct_page, accept: Option<&str>| {
        let mut store = store(&folder);
        let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
        let reported = watch.observe_scan(&mut store, &scanned(Some(Pmem { struct_page, ..Pmem::default() })), NOW);
        let whose = accept.map(|which| BaselineScope::Namespace(which.into()));
        let accepted = whose.map(|whose| watch.accept(&mut store, &whose, acceptance()));
        (reported.len(), accepted.transpose(), watch.regressions().len())
    };
    assert_eq!(agent(64, None), (0, Ok(None), 0));
    let refused = Err(AcceptError::NoRegression("namespace7.0".into()));
    assert_eq!(agent(128, Some("namespace7.0")), (1, refused, 1));
    let (_, accepted, standing) = agent(128, Some("0x100000000"));
    assert_eq!((accepted.unwrap().map(|it| it.lost_bytes()), standing), (Some(256 << 20), 0));
    assert_eq!(agent(128, None), (0, Ok(None), 0));
    assert_eq!(store(&folder).costs().unwrap()[0].accepted, Some(acceptance()));
    assert_eq!(agent(64, None), (0, Ok(None), 0));
    assert_eq!(agent(128, None), (1, Ok(None), 1), "it has cost less meanwhile");
}

#[test]
fn of_too_many_boots_the_oldest_are_evicted_but_never_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let last = u64::try_from(MAX_BOOTS).unwrap() + 9;
    let boots: Vec<_> = (1..last).map(|number| boot(number, Some(if number == 3 { 64 } else { 128 }))).collect();
    store.save_boots(&boots).unwrap();
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    assert_eq!(watch.observe_kernel(&mut store, boot(last, Some(128))), None, "an earlier agent has reported it");
    let kept: Vec<_> = store.boots().unwrap().into_iter().map(|boot| boot.release).collect();
    assert_eq!((kept.len(), &kept[..2], watch.evicted()), (MAX_BOOTS, &["6.3".into(), "6.11".into()][..], [9, 0, 0]));
    assert_eq!(watch.regressions()[0].before.kernel, "6.3");
    assert_eq!(kept.last(), Some(&format!("6.{last}")));
}

#[test]
fn costs_that_are_evicted_go_from_the_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let least = Cost {
        kernel: "6.0".into(),
        seen: "2026-01-01T00:00:00Z".into(),
        reservation_bytes: GIB,
        excess_bytes: 0,
        max_struct_page_size_bytes: None,
    };
    let gone = |number: u64| {
        let (namespace, start_address) = ("namespace0.0".into(), (100 + number) * GIB);
        let namespace = NamespaceKey { namespace, namespace_uuid: None, start_address, size_bytes: GIB };
        CostRecord { namespace, last: None, baseline: least.clone(), accepted: None }
    };
    let records: Vec<_> = (0..4096).map(gone).collect();
    store.save_costs(&records).unwrap();
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    watch.observe_scan(&mut store, &scanned(Some(Pmem::default())), NOW);
    let kept = store.costs().unwrap();
    assert_eq!((kept.len(), watch.evicted()), (4096, [0, 1, 0]));
    assert!(kept.contains(&records[1]) && !kept.contains(&records[0]) && kept.iter().any(|it| it.last.is_some()));
}

/// A damaged file is replaced by an empty one, and what it had is saved again.
#[test]
fn a_file_that_was_made_again_gets_boots_and_costs() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
    for number in [1, 2] {
        watch.observe_kernel(&mut store, boot(number, Some(64)));
    }
    watch.observe_scan(&mut store, &scanned(Some(Pmem::default())), NOW);
    watch.observe_devices(&mut store, &[device_tests::without_driver()], Duration::ZERO, NOW);
    let saved = (store.boots().unwrap(), store.costs().unwrap(), store.devices().unwrap());
    assert_eq!((saved.0.len(), saved.1.len(), saved.2.len()), (2, 1, 1));
    watch.restore_rows(&mut store);

    let file = folder.path().join("store.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("store.db{suffix}")));
    }
    std::fs::write(&file, b"no database ".repeat(500)).unwrap();
    store.enforce_retention(&mut InfoBlockCache::default(), NOW);
    let rows = |store: &mut EventStore| (store.boots().unwrap(), store.costs().unwrap(), store.devices().unwrap());
    assert_eq!(rows(&mut store), (vec![], vec![], vec![]), "a new file");
    watch.restore_rows(&mut store);
    assert_eq!(rows(&mut store), saved);
    // Only once.
    store.delete_boots(&saved.0).unwrap();
    watch.restore_rows(&mut store);
    assert_eq!(store.boots().unwrap(), []);
}

#[test]
fn a_kernel_that_does_not_return_memmaps_is_reported_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    // The code is read before or after what the kernel reserves is known.
    let agent = |number, returned, is_first| {
        let mut store = store(&folder);
        let mut watch = BaselineWatch::new(&mut store, "6.1", 4096);
        let mut reported = Vec::new();
        if is_first {
            reported.extend(watch.observe_memmap_return(&mut store, returned));
        }
        reported.extend(watch.observe_kernel(&mut store, boot(number, Some(64))));
        reported.extend(watch.compare_memmap_return(&mut store));
        if !is_first {
            reported.extend(watch.observe_memmap_return(&mut store, returned));
        }
        (reported, watch.regressions(), watch, store)
    };
    let (reported, standing, ..) = agent(1, true, false);
    assert_eq!((reported, standing), (vec![], vec![]));
    if cfg!(target_arch = "x86_64") {
        let (mut reported, standing, ..) = agent(2, false, true);
        assert_eq!((reported.len(), standing.len()), (1, 1));
        let capacity = began(reported.pop());
        assert_eq!(capacity.regression.before.kernel, "6.1");
        let (reported, standing, ..) = agent(2, false, false);
        assert_eq!((reported, standing.len()), (vec![], 1), "another agent in the same boot");
        let (reported, standing, ..) = agent(3, true, false);
        assert!(matches!(reported[..], [Body::CapacityRegressionEnded(_)]) && standing.is_empty(), "{reported:?}");
        let (_, standing, mut watch, mut store) = agent(4, false, false);
        assert_eq!(standing.len(), 1);
        watch.accept(&mut store, &BaselineScope::Host, acceptance()).unwrap();
        assert_eq!(watch.regressions(), []);
        assert_eq!(agent(4, false, true).1, [], "accepted for the next agent as well");
    }
}
