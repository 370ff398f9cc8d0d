//! Memmaps in DRAM that are removed: events, sums and evidence.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pfnwatch_common::record::{MemmapRemoval, TaskInfo};
use zerocopy::IntoBytes as _;

use super::*;
use crate::code::memmap_free::MemmapReturn;
use crate::model::memmap_return::{MemmapEvidence, MemmapReturnStatus, MemmapVerdict};
use crate::testing::events::{denial, name};

const GIB: u64 = 1 << 30;
/// All pages but one of each piece of 2 MiB.
const LOST_OF_1_GIB: u64 = 8 * ((2 << 20) - 4096);
const SETTLED: Duration = Duration::from_secs(2);

/// The memmap of 1 GiB at 4 GiB is removed, as of fsdax with map=mem, 3 s after the scripted clock starts.
fn removal() -> MemmapRemoval {
    MemmapRemoval {
        at_ns: 1_003_000_000_000,
        task: TaskInfo { pid: 42, tid: 42, uid: 0, flags: 0, cgroup_id: 1, comm: name("ndctl") },
        start: 4 << 30,
        end: (5 << 30) - 1,
        ..MemmapRemoval::EMPTY
    }
}

fn kernel(found: Option<Result<MemmapReturn, String>>) -> FakeKernel {
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.memmap_return = found);
    kernel
}

async fn remove(rig: &Rig, record: &MemmapRemoval) -> MemmapReturnStatus {
    rig.kernel.send(Message::Record(Bytes::copy_from_slice(record.as_bytes())));
    rig.wait_until_idle().await.memmap_return
}

#[test]
fn a_memmap_that_is_not_returned_is_one_event() {
    let kernel = kernel(Some(Ok(MemmapReturn::NotReturned)));
    let events = scenario(&kernel, "", async |rig| {
        Tree::new(rig.folder.path()).unwrap().namespace(&Pmem { map: "ram", ..Pmem::default() }).unwrap();
        rig.kernel.load_module(true);
        rig.wait_until_idle().await;
        let status = remove(rig, &removal()).await;
        assert_eq!((status.verdict, status.evidence), (MemmapVerdict::NotReturned, Some(MemmapEvidence::Code)));
        assert_eq!(status.lost_bytes, [(MemmapEvidence::Code, LOST_OF_1_GIB)].into());
        // Deduplicated, unreadable: nothing of these is lost.
        remove(rig, &MemmapRemoval { vmemmap_shift: 9, ..removal() }).await;
        let status = remove(rig, &MemmapRemoval { end: 0, ..removal() }).await;
        assert_eq!(status.total_lost(), LOST_OF_1_GIB);
    });
    let lost = of_kind(&events, "memmap_not_returned");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!((&lost[0]["namespace"], &lost[0]["by"]["pid"]), (&"namespace0.0".into(), &42.into()));
    assert_eq!((&lost[0]["removed_bytes"], &lost[0]["lost_bytes"]), (&(16 << 20).into(), &LOST_OF_1_GIB.into()));
    assert_eq!((&lost[0]["evidence"], &lost[0]["at_most"]), (&"code".into(), &false.into()));
    assert_eq!(lost[0]["time"], "2026-01-02T03:04:08.000000Z");
    assert_eq!(events.last().unwrap()["received"], 3);
}

#[test]
fn nothing_is_reported_of_a_kernel_that_returns_memmaps_or_hides_it() {
    for found in [Ok(MemmapReturn::Returned), Err("a live patch".to_owned())] {
        let kernel = kernel(Some(found.clone()));
        let events = scenario(&kernel, "", async |rig| {
            let status = remove(rig, &removal()).await;
            let verdict = if found.is_ok() { MemmapVerdict::Returned } else { MemmapVerdict::Unknown };
            assert_eq!((status.verdict, status.problem.as_ref()), (verdict, found.as_ref().err()));
            assert_eq!(status.total_lost(), 0);
        });
        assert!(of_kind(&events, "memmap_not_returned").is_empty(), "{events:?}");
    }
}

#[test]
fn removals_wait_until_the_code_has_been_read() {
    let kernel = kernel(None);
    let events = scenario(&kernel, "", async |rig| {
        assert_eq!(remove(rig, &removal()).await, MemmapReturnStatus::default());
        let reader = rig.kernel.set(|state| state.code_reader.take()).unwrap();
        reader.send(Ok(MemmapReturn::NotReturned)).unwrap();
        assert_eq!(rig.wait_until_idle().await.memmap_return.total_lost(), LOST_OF_1_GIB);
    });
    assert_eq!(of_kind(&events, "memmap_not_returned").len(), 1);
}

#[test]
fn a_remedy_names_the_loss_that_the_code_shows() {
    for (found, loses) in [(MemmapReturn::NotReturned, true), (MemmapReturn::Returned, false)] {
        let kernel = kernel(Some(Ok(found)));
        let events = scenario(&kernel, "", async |rig| {
            rig.wait_until_idle().await;
            rig.kernel.send(Message::Record(Bytes::copy_from_slice(denial().as_bytes())));
            rig.wait_until_idle().await;
        });
        let denied = of_kind(&events, "denied");
        let remedy = denied[0]["remedies"][0].as_str().unwrap();
        let loss = "(this kernel loses that DRAM at each disable, until the next boot)";
        assert_eq!((denied.len(), remedy.ends_with(loss)), (1, loses), "{remedy}");
    }
}

#[test]
fn the_next_agent_goes_on_with_what_was_lost_since_boot() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel(Some(Ok(MemmapReturn::NotReturned)));
    let lost_after = |record: MemmapRemoval| {
        let (mut rig, signals) = Rig::new(kernel.clone(), "");
        rig.store = Some(folder.path().join("pfnwatch.db"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let act = async {
                rig.wait_until_idle().await;
                let lost = remove(&rig, &record).await.total_lost();
                rig.end();
                lost
            };
            tokio::join!(rig.run(signals), act).1
        })
    };
    assert_eq!(lost_after(removal()), LOST_OF_1_GIB);
    assert_eq!(lost_after(MemmapRemoval { end: 0, ..removal() }), LOST_OF_1_GIB);
    assert_eq!(lost_after(removal()), 2 * LOST_OF_1_GIB);
}

fn memory(folder: &Path, free: u64, cache: u64) {
    let procfs = folder.join("proc");
    fs::write(procfs.join("zoneinfo"), format!("nr_free_pages {}\n count: 0\n", free / 4096)).unwrap();
    let others = "nr_anon_pages 1\nnr_slab_reclaimable 1\nnr_slab_unreclaimable 1\nnr_page_table_pages 1";
    fs::write(procfs.join("vmstat"), format!("nr_file_pages {}\n{others}\n", cache / 4096)).unwrap();
}

/// What free memory shows after 1 GiB was removed, when the page cache was `cache` meanwhile.
fn evidence_after(free: u64, cache: u64) -> Option<MemmapEvidence> {
    let kernel = kernel(Some(Ok(MemmapReturn::NotReturned)));
    let mut evidence = None;
    scenario(&kernel, "", async |rig| {
        memory(rig.folder.path(), GIB, 0);
        rig.clock.advance(SETTLED);
        rig.wait_until_idle().await;
        remove(rig, &removal()).await;
        memory(rig.folder.path(), free, cache);
        rig.clock.advance(SETTLED / 2);
        assert_eq!(rig.wait_until_idle().await.memmap_return.evidence, Some(MemmapEvidence::Code), "not settled yet");
        rig.clock.advance(SETTLED / 2);
        evidence = rig.wait_until_idle().await.memmap_return.evidence;
    });
    evidence
}

#[test]
fn stable_free_memory_confirms_what_the_code_shows_if_nothing_else_moved() {
    assert_eq!(evidence_after(GIB, 0), Some(MemmapEvidence::Observed));
    assert_eq!(evidence_after(GIB, 16 << 20), Some(MemmapEvidence::Code), "something else took it");
    assert_eq!(evidence_after(GIB + (16 << 20), 0), Some(MemmapEvidence::Code), "it is free");
}
