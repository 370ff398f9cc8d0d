//! Over real journals: what one agent has learned, the next one knows.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::{
    assess::Thresholds,
    inventory::{InfoBlocks, Inventory, Roots},
    journal::Settings,
    kernel::KernelFacts,
    tree::{Pmem, Tree},
};

const GIB: u64 = 1 << 30;

fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(Settings { file: Some(folder.path().join("journal.db")), ..Settings::default() })
}

fn boot(number: u64, max: Option<u64>) -> BootRow {
    let seen = UNIX_EPOCH + Duration::from_secs(1_000_000 * number);
    BootRow {
        boot_id: format!("boot {number}"),
        module_build_id: None,
        release: format!("6.{number}"),
        struct_page_size: Some(64),
        max_struct_page_size: max,
        evidence: Vec::new(),
        first_seen: seen,
        last_seen: seen,
    }
}

fn began(body: Option<Body>) -> Capacity {
    let Some(Body::CapacityRegression(capacity)) = body else { panic!("{body:?}") };
    *capacity
}

fn surveyed(pmem: Option<Pmem>) -> Survey {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    if let Some(pmem) = pmem {
        tree.namespace(&pmem).unwrap();
    }
    let roots = Roots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    let kernel =
        KernelFacts { release: "6.1.0".into(), page_size: 4096, struct_page_size: Some(64), deduplicates: Some(true) };
    Survey::judge(Inventory::read(&roots).unwrap(), &InfoBlocks::default(), kernel, &Thresholds::default())
}

#[test]
fn a_kernel_that_costs_more_is_told_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |boots: &[BootRow]| {
        let mut journal = journal(&folder);
        let mut watch = BaselineWatch::new(&mut journal, "6.1", 4096);
        let told: Vec<_> = boots.iter().map(|boot| watch.kernel(&mut journal, boot.clone())).collect();
        (told, watch.standing().len())
    };
    assert_eq!(agent(&[boot(1, Some(64))]), (vec![None], 0), "nothing to hold it against");
    let (mut told, standing) = agent(&[boot(2, None), boot(2, Some(128)), boot(2, Some(128))]);
    assert_eq!((told.pop(), told.len(), standing), (Some(None), 2, 1));
    let capacity = began(told.pop().flatten());
    assert_eq!((capacity.lost_bytes, capacity.regression.before.kernel.as_str()), (16 * GIB, "6.1"));
    assert_eq!(agent(&[boot(2, Some(128))]), (vec![None], 1), "another agent in the same boot");
    assert_eq!(agent(&[boot(3, None)]), (vec![None], 1), "not known is not mended");
    let (told, standing) = agent(&[boot(3, Some(64))]);
    assert!(matches!(told[0], Some(Body::CapacityRegressionEnded(_))) && standing == 0, "{told:?}");
}

#[test]
fn another_libnvdimm_in_the_same_boot_is_another_kernel() {
    let mut journal = Journal::off();
    let mut watch = BaselineWatch::new(&mut journal, "6.1", 4096);
    let with = |id: &str, max| BootRow { module_build_id: Some(id.into()), ..boot(1, Some(max)) };
    assert_eq!(watch.kernel(&mut journal, with("aa", 64)), None);
    began(
        watch.kernel(
            &mut journal,
            BootRow { last_seen: UNIX_EPOCH + Duration::from_secs(2_000_000), ..with("bb", 128) },
        ),
    );
}

#[test]
fn a_namespace_that_costs_more_than_under_the_agent_before() {
    let folder = tempfile::tempdir().unwrap();
    let agent = |pmem| {
        let mut journal = journal(&folder);
        let mut watch = BaselineWatch::new(&mut journal, "6.1", 4096);
        let mut told = watch.survey(&mut journal, &surveyed(pmem));
        assert_eq!(watch.survey(&mut journal, &surveyed(None)).len(), watch_ends(&told), "gone");
        assert!(told.len() < 2);
        told.pop()
    };
    assert_eq!(agent(Some(Pmem::default())), None);
    let capacity = began(agent(Some(Pmem { struct_page: 128, ..Pmem::default() })));
    assert_eq!((capacity.lost_bytes, capacity.regression.before.reservation_bytes), (256 << 20, 258 << 20));
    assert_eq!(agent(Some(Pmem { map: "ram", ..Pmem::default() })), None);
}

/// What begins must end once nothing is there.
fn watch_ends(told: &[Body]) -> usize {
    told.iter().filter(|body| matches!(body, Body::CapacityRegression(_))).count()
}
