//! Tests over made-up kernels and namespaces.

use crate::model::capacity::{Cost, CostRecord, NamespaceKey, ObservedKernel, Regression, describe, describe_ended};
use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn kernel(id: &str, release: &str, max: Option<u64>) -> ObservedKernel {
    ObservedKernel {
        id: id.into(),
        release: release.into(),
        seen: format!("2026-01-0{id}T00:00:00Z"),
        page_size: 4096,
        max_struct_page_size: max,
        memmap_returned: None,
        superseded: false,
    }
}

fn namespace(uuid: u128, start: u64) -> NamespaceKey {
    let namespace_uuid = (uuid != 0).then(|| Uuid::from_u128(uuid));
    NamespaceKey { namespace: "namespace0.0".into(), namespace_uuid, start_address: start, size_bytes: 16 * GIB }
}

fn cost(kernel: &str, reservation: u64, excess: u64) -> Cost {
    Cost {
        kernel: kernel.into(),
        seen: "2026-01-01T00:00:00Z".into(),
        reservation_bytes: reservation,
        excess_bytes: excess,
        max_struct_page_size_bytes: None,
    }
}

fn began(change: RegressionChange) -> Regression {
    let RegressionChange::Began(regression) = change else { panic!("{change:?}") };
    *regression
}

#[test]
fn the_mission_s_own_case_to_the_byte() {
    let before = [kernel("1", "6.0.12", Some(64)), kernel("2", "6.0.11", Some(64))];
    let regression = host_regression(&kernel("3", "6.1.5", Some(128)), &before).unwrap();
    assert_eq!(regression.before.reservation_bytes, 16 * GIB + 2 * MIB);
    assert_eq!(regression.after.reservation_bytes, 32 * GIB + 2 * MIB);
    assert_eq!((regression.lost_bytes(), regression.after.excess_bytes), (16 * GIB, 16 * GIB));
    assert_eq!(regression.before.kernel, "6.0.11", "the latest of those that cost the same");
    let messages = describe(&regression);
    assert_eq!(
        messages,
        "a namespace of 1 TiB with map=dev costs 16 GiB more: 32.0 GiB now (128 B a page, seen under 6.1.5), 16.0 GiB \
         before (64 B a page, seen under 6.0.11)"
    );
    let ended = describe_ended(&regression);
    assert_eq!(ended, "a namespace of 1 TiB with map=dev no longer costs 32.0 GiB (128 B a page, seen under 6.1.5)");
}

#[test]
fn a_host_is_held_against_others_that_are_known() {
    let good = kernel("1", "6.0", Some(64));
    for (now, others) in [
        (kernel("2", "6.2", Some(64)), vec![good.clone()]),
        (kernel("2", "6.9", Some(32)), vec![good.clone()]),
        (kernel("2", "6.1", None), vec![good.clone()]),
        (kernel("2", "6.1", Some(128)), vec![kernel("1", "?", None)]),
        (kernel("2", "6.1", Some(128)), vec![]),
        // The same boot by another name of its own would be no other kernel.
        (kernel("1", "6.1", Some(128)), vec![good]),
    ] {
        assert_eq!(host_regression(&now, &others), None, "{now:?}");
    }
}

#[test]
fn a_namespace_that_is_made_anew_and_again() {
    let mut ledger = CostHistory::default();
    assert_eq!(ledger.observe(namespace(1, GIB), cost("6.0", 258 * MIB, 0)).1, RegressionChange::Recorded);
    // ndctl gives another uuid with --reconfig.
    let regression = began(ledger.observe(namespace(2, GIB), cost("6.1", 514 * MIB, 256 * MIB)).1);
    assert_eq!((regression.lost_bytes(), regression.before.kernel.as_str()), (256 * MIB, "6.0"));
    assert_eq!(
        ledger.observe(namespace(2, GIB), cost("6.1", 514 * MIB, 256 * MIB)).1,
        RegressionChange::Unchanged,
        "reported once"
    );
    assert_eq!(ledger.regressions().count(), 1);
    // A fixed kernel does not give it back.
    assert_eq!(ledger.observe(namespace(2, GIB), cost("6.2", 514 * MIB, 256 * MIB)).1, RegressionChange::Recorded);
    let worse = began(ledger.observe(namespace(2, GIB), cost("7.9", 770 * MIB, 512 * MIB)).1);
    assert_eq!(worse.lost_bytes(), 512 * MIB);
    let (record, change) = ledger.observe(namespace(3, GIB), cost("6.2", 258 * MIB, 0));
    assert!(matches!(change, RegressionChange::Ended(_)) && record.baseline.kernel == "6.2", "{record:?}");
    assert_eq!((ledger.regressions().count(), ledger.records().count()), (0, 1));
}

#[test]
fn another_map_or_size_is_its_maker_s_choice() {
    let mut ledger = CostHistory::default();
    ledger.observe(namespace(1, GIB), cost("6.0", 2 * MIB, 0));
    assert_eq!(
        ledger.observe(namespace(1, GIB), cost("6.0", 258 * MIB, 0)).1,
        RegressionChange::Recorded,
        "map=mem to map=dev"
    );
    let other = NamespaceKey { size_bytes: 32 * GIB, ..namespace(1, GIB) };
    assert_eq!(ledger.observe(other, cost("6.1", 1026 * MIB, 512 * MIB)).1, RegressionChange::Recorded);
    assert_eq!(ledger.records().count(), 2);
}

#[test]
fn the_first_sight_of_an_oversize_one_is_no_regression() {
    let mut ledger = CostHistory::default();
    for _ in 0..2 {
        for start in [GIB, 20 * GIB] {
            ledger.observe(namespace(0, start), cost("6.1", 514 * MIB, 256 * MIB));
        }
    }
    assert_eq!((ledger.regressions().count(), ledger.records().count()), (0, 2));
}

#[test]
fn what_is_destroyed_or_gone_costs_nothing_and_is_remembered() {
    for missed in [false, true] {
        let mut ledger = CostHistory::default();
        ledger.observe(namespace(1, GIB), cost("6.0", 258 * MIB, 0));
        ledger.observe(namespace(1, GIB), cost("6.1", 514 * MIB, 256 * MIB));
        let gone = if missed { ledger.retain(&BTreeSet::new()) } else { ledger.destroyed(Uuid::from_u128(1)) };
        let [(record, RegressionChange::Ended(_))] = &gone[..] else { panic!("{gone:?}") };
        assert_eq!((record.last.is_none(), ledger.regressions().count()), (true, 0));
        assert_eq!(ledger.retain(&BTreeSet::new()), [], "removed once");
        let again = ledger.observe(namespace(9, GIB), cost("6.1", 514 * MIB, 256 * MIB)).1;
        assert_eq!(began(again).before.kernel, "6.0", "the room is the same");
    }
}

#[test]
fn what_is_there_stays() {
    let mut ledger = CostHistory::default();
    ledger.observe(namespace(1, GIB), cost("6.0", 258 * MIB, 0));
    assert_eq!(ledger.retain(&BTreeSet::from([(GIB, 16 * GIB)])), []);
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let record =
        CostRecord { namespace: namespace(1, GIB), last: None, baseline: cost("6.0", 258 * MIB, 0), accepted: None };
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<CostRecord>(&json).unwrap(), record);
    assert_eq!(CostHistory::new(vec![record.clone()]).records().next(), Some(&record));
}

#[test]
fn there_is_an_end_to_what_is_followed() {
    let mut ledger = CostHistory::default();
    for number in 0..u64::try_from(MAX_RECORDS).unwrap() + 9 {
        ledger.observe(namespace(0, number * 16 * GIB), cost("6.0", 258 * MIB, 0));
    }
    assert_eq!(ledger.records().count(), MAX_RECORDS);
}

#[test]
fn the_baseline_of_a_regression_is_never_evicted() {
    let mut ledger = CostHistory::default();
    ledger.observe(namespace(0, GIB), cost("6.0", 258 * MIB, 0));
    ledger.observe(namespace(0, GIB), cost("6.1", 514 * MIB, 256 * MIB));
    for number in 0..u64::try_from(MAX_RECORDS).unwrap() + 9 {
        ledger.observe(namespace(0, (100 + number * 16) * GIB), cost("6.1", 258 * MIB, 0));
    }
    assert_eq!((ledger.records().count(), ledger.regressions().count()), (MAX_RECORDS, 1));
    assert_eq!((ledger.evicted(), ledger.take_evicted().len(), ledger.take_evicted().len()), (10, 10, 0));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_kernel_that_does_not_return_memmaps_is_compared_with_those_that_did() {
    let with =
        |id: &str, returned| ObservedKernel { memmap_returned: returned, ..kernel(id, &format!("6.{id}"), Some(64)) };
    let now = with("9", Some(false));
    let regression = memmap_regression(&now, &[with("1", Some(true)), with("2", Some(true)), with("3", None)]).unwrap();
    // Each piece of 2 MiB but one page, of the struct pages of 1 TiB.
    assert_eq!((regression.before.kernel.as_str(), regression.lost_bytes()), ("6.2", 16 * GIB / 512 * 511));
    assert_eq!(regression.after.reservation_bytes, regression.before.reservation_bytes);
    let said = describe(&regression);
    assert!(said.contains("Linux 6.9 does not return") && said.contains("and Linux 6.2 did"), "{said}");
    let superseded = ObservedKernel { superseded: true, ..with("1", Some(true)) };
    for others in [vec![], vec![superseded], vec![with("1", Some(false)), with("2", None)], vec![with("9", Some(true))]]
    {
        assert_eq!(memmap_regression(&now, &others), None, "{others:?}");
    }
    for returned in [None, Some(true)] {
        assert_eq!(memmap_regression(&with("9", returned), &[with("1", Some(true))]), None);
    }
}
