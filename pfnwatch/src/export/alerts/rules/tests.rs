//! Findings in made-up views, and their annotations.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::*;
use crate::model::capacity::{Cost, DeviceKey, DeviceLoss, NamespaceKey, RegressedDevice, Regression};
use crate::model::memmap_return::MemmapEvidence;
use crate::model::policy::Mode;
use crate::model::scan_result::ScanResult;
use crate::model::store::StoreHealth;
use crate::testing::tree::Pmem;
use crate::testing::view;

const GIB: u64 = 1 << 30;

/// A host with one good namespace, and one of 16 GiB that was made with 128 bytes a page.
fn scan() -> ScanResult {
    view::scan(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem::default())?;
        tree.namespace(&Pmem { id: 1, start: 20 * GIB, struct_page: 128, ..Pmem::default() })
    })
}

fn view() -> View {
    View { scan: Ok(scan()), ..view::healthy() }
}

fn found(view: &View) -> Findings {
    let mut settled = RecentEvents::default();
    settled.observing(true, Duration::ZERO);
    settled.observing(true, Duration::from_secs(120));
    findings(view, &settled, "host1", "https://wiki/pfnwatch#")
}

fn names(found: &Findings) -> Vec<AlertName> {
    found.firing.iter().map(|alert| alert.name).collect()
}

fn the(found: &Findings, name: AlertName) -> Alert {
    found.firing.iter().find(|alert| alert.name == name).unwrap_or_else(|| panic!("{name}: {found:?}")).clone()
}

fn cost(kernel: &str, reservation_bytes: u64, max: u64) -> Cost {
    Cost {
        kernel: kernel.to_owned(),
        seen: "2026-01-02T03:04:05Z".to_owned(),
        reservation_bytes,
        excess_bytes: 0,
        max_struct_page_size_bytes: Some(max),
    }
}

#[test]
fn an_oversize_namespace_is_told_with_its_bytes() {
    let found = found(&view());
    assert_eq!(names(&found), [AlertName::NamespaceOversize]);
    let alert = the(&found, AlertName::NamespaceOversize);
    assert_eq!(alert.labels["instance"], "host1");
    assert_eq!(alert.labels["severity"], "warning");
    assert!(alert.labels.contains_key("namespace_uuid") || alert.labels["start_address"] == "0x500000000", "{alert:?}");
    let said = alert.annotation("description");
    for part in
        ["namespace0.1", "16 GiB (17179869184 bytes)", "256 MiB (268435456 bytes) are lost", "plan namespace0.1"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(alert.annotation("runbook_url"), "https://wiki/pfnwatch#pfnwatchnamespaceoversize");
}

#[test]
fn regressions_name_both_kernels_and_the_bytes() {
    let mut view = view();
    let uuid = Uuid::from_u128(7);
    let namespace = NamespaceKey {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(uuid),
        start_address: 4 * GIB,
        size_bytes: GIB,
    };
    for (subject, before, after) in
        [(RegressionSubject::Host, 16 * GIB, 32 * GIB), (RegressionSubject::Namespace(namespace), 18 << 20, 34 << 20)]
    {
        let (before, after) = (cost("6.0.12", before, 64), cost("6.1.0", after, 128));
        view.regressions.push(Regression { subject, before, after });
    }
    let found = found(&view);
    let host = the(&found, AlertName::CapacityRegression);
    for part in ["32 GiB (34359738368 bytes)", "16 GiB (17179869184 bytes)", "6.0.12", "6.1.0"] {
        assert!(host.annotation("description").contains(part), "{part}: {host:?}");
    }
    assert!(host.annotation("summary").contains("16 GiB less than under 6.0.12"), "{host:?}");
    let namespace = the(&found, AlertName::NamespaceRegression);
    assert_eq!(namespace.labels["namespace_uuid"], uuid.to_string());
    assert!(namespace.annotation("description").contains("16 MiB (16777216 bytes) more"), "{namespace:?}");
}

#[test]
fn what_is_wrong_with_the_agent_is_told() {
    let mut view = view();
    view.status.mode.mode = Mode::Enforce;
    view.status.mode.by = "ann (uid 1000)".to_owned();
    view.status.enforcement_effective = false;
    view.status.ineffective_reason = Some("`bpf` is not in the list".to_owned());
    view.status.policy.reload_error =
        Some("at line 3, column 1\n  |\n3 | url = \"secret\"\n  | ^\nno URL\n".to_owned());
    view.status.max_struct_page.conflicting_evidence = vec!["module file: 64".to_owned()];
    view.store = StoreHealth { error: Some("no space left".to_owned()), uncommitted: 7, ..StoreHealth::default() };
    view.scan = Err("gone".to_owned());
    let of_agent = found(&view);
    let expected = [
        AlertName::EnforceNotEffective,
        AlertName::ModeOverridden,
        AlertName::PolicyInvalid,
        AlertName::StoreFailing,
        AlertName::EvidenceConflict,
    ];
    assert_eq!(names(&of_agent), expected);
    let invalid = the(&of_agent, AlertName::PolicyInvalid).annotation("description").to_owned();
    assert!(invalid.contains("not loaded: at line 3, column 1: no URL. The configuration read at"), "{invalid}");
    assert_eq!(the(&of_agent, AlertName::EnforceNotEffective).labels["severity"], "critical");
    let overridden = the(&of_agent, AlertName::ModeOverridden);
    assert_eq!(overridden.annotation("summary"), "The mode is enforce, and the configuration has audit");
    assert!(overridden.annotation("description").contains("set by ann (uid 1000)"), "{overridden:?}");
    assert!(
        the(&of_agent, AlertName::StoreFailing).annotation("description").contains("no space left. 7 reported events")
    );
    (view.status.agent.observing, view.status.agent.ready) = (false, false);
    view.status.agent.reason = Some("no BTF".to_owned());
    let blind = found(&view);
    assert!(the(&blind, AlertName::Blind).annotation("description").contains("cannot observe: no BTF"), "{blind:?}");
    assert!(blind.cannot_judge(&the(&of_agent, AlertName::EvidenceConflict)));
}

#[test]
fn a_refused_namespace_is_told_with_the_kernels_reason() {
    let mut view = view();
    let scan = view.scan.as_mut().unwrap();
    let assessment = &mut scan.namespaces[0].assessment;
    (assessment.verdict, assessment.detail) = (Verdict::Refused, "init failed, page size mismatch".to_owned());
    let alert = the(&found(&view), AlertName::NamespaceRefused);
    assert!(alert.annotation("summary").ends_with("does not enable namespace0.0"), "{alert:?}");
    assert!(alert.annotation("description").contains("page size mismatch"), "{alert:?}");
    assert_eq!(alert.annotation("runbook_url"), "https://wiki/pfnwatch#pfnwatchnamespacerefused");
}

#[test]
fn what_cannot_be_seen_has_not_ended() {
    let mut view = view();
    let oversize = the(&found(&view), AlertName::NamespaceOversize);
    assert!(!found(&view).cannot_judge(&oversize));
    // libnvdimm is not loaded.
    (view.status.agent.observing, view.status.agent.ready) = (false, true);
    let idle = found(&view);
    assert!(idle.firing.is_empty() && idle.cannot_judge(&oversize));
    for name in [
        AlertName::CapacityRegression,
        AlertName::NamespaceRegression,
        AlertName::EnforceNotEffective,
        AlertName::EvidenceConflict,
    ] {
        assert!(idle.cannot_judge(&Alert::new(name, "host1", None)), "{name}");
    }
    assert!(!idle.cannot_judge(&Alert::new(AlertName::Blind, "host1", None)));
    // The namespace exists, and its state is unknown.
    view.status.agent.observing = true;
    if let Ok(scan) = &mut view.scan {
        scan.namespaces[1].assessment.verdict = Verdict::Unknown;
    }
    let unknown = found(&view);
    assert!(unknown.firing.is_empty() && unknown.cannot_judge(&oversize));
    // It is not there: at a boot it may still come up, later it is destroyed.
    if let Ok(scan) = &mut view.scan {
        scan.namespaces.pop();
    }
    let early = findings(&view, &RecentEvents::default(), "host1", "");
    assert!(early.cannot_judge(&oversize));
    assert!(!found(&view).cannot_judge(&oversize));
}

/// As many oversize namespaces, and regressions, with uuids from this number on.
fn crowd(view: &mut View, from: u128, count: u128) {
    let Ok(scan) = &mut view.scan else { panic!() };
    let sample = scan.namespaces.pop().unwrap();
    scan.namespaces.clear();
    for uuid in (from..from + count).map(Uuid::from_u128) {
        let mut namespace = sample.clone();
        namespace.namespace.uuid = Ok(uuid);
        scan.namespaces.push(namespace);
        let start_address = u64::try_from(uuid.as_u128()).unwrap() << 30;
        let namespace_uuid = Some(uuid);
        let key = NamespaceKey { namespace: "namespace0.0".to_owned(), namespace_uuid, start_address, size_bytes: GIB };
        let (before, after) = (cost("6.0.12", 18 << 20, 64), cost("6.1.0", 34 << 20, 128));
        view.regressions.push(Regression { subject: RegressionSubject::Namespace(key), before, after });
    }
}

#[test]
fn too_many_alerts_of_a_name_are_left_out_and_have_not_ended() {
    let mut view = view();
    crowd(&mut view, 1, 300);
    let all = found(&view);
    assert_eq!((all.firing.len(), all.omitted), (2 * 256, 2 * 44));
    let alert = |number| {
        let subject = || Some(("namespace_uuid", Uuid::from_u128(number).to_string()));
        [AlertName::NamespaceOversize, AlertName::NamespaceRegression].map(|name| Alert::new(name, "host1", subject()))
    };
    assert!(alert(300).iter().all(|alert| all.cannot_judge(alert)), "left out, and may be firing since earlier");
    assert!(alert(301).iter().all(|alert| !all.cannot_judge(alert)), "it is gone: its alerts end");
}

/// Namespaces are made and destroyed while there are too many: the alerts of those that are gone end.
#[test]
fn firing_alerts_are_bounded_by_the_namespaces() {
    let mut firing = crate::export::alerts::FiringAlerts::default();
    for round in 0..5_u128 {
        let mut view = view();
        crowd(&mut view, 1 + 300 * round, 300);
        firing.follow(&found(&view), &[], SystemTime::UNIX_EPOCH);
        assert_eq!(firing.iter().count(), 2 * 256);
    }
}

#[test]
fn every_alert_has_its_page_in_the_runbook() {
    let runbook = include_str!("../../../../../docs/runbook.md");
    for name in AlertName::ALL {
        assert!(runbook.contains(&format!("\n## {name}\n")), "{name} has no section in docs/runbook.md");
        assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
    }
    assert_eq!(crate::export::alerts::runbook("#", AlertName::Blind), "#pfnwatchblind");
}

#[test]
fn memmaps_that_were_not_returned_are_told_until_the_next_boot() {
    let mut view = view::healthy();
    assert!(names(&found(&view)).is_empty());
    view.status.memmap_return.lost_bytes = [(MemmapEvidence::Release, 16 << 20)].into();
    let suspected = the(&found(&view), AlertName::MemmapNotReturned);
    assert!(
        suspected.annotation("summary").contains("is suspected not to have returned 16 MiB of DRAM"),
        "{suspected:?}"
    );
    view.status.memmap_return.lost_bytes.insert(MemmapEvidence::Code, 4096);
    let known = the(&found(&view), AlertName::MemmapNotReturned);
    assert!(known.annotation("summary").contains("did not return"), "{known:?}");
    assert!(known.annotation("description").contains("(16781312 bytes)"), "{known:?}");
    view.status.memmap_return.lost_bytes.clear();
    view.store.error = Some("no space left".to_owned());
    assert!(found(&view).cannot_judge(&known), "what was lost before this agent is in the store");
}

#[test]
fn a_kernel_that_does_not_return_memmaps_is_a_capacity_regression() {
    let mut view = view::healthy();
    let cost = |kernel| cost(kernel, 16 * GIB, 64);
    let subject = RegressionSubject::MemmapReturn { not_returned_bytes: GIB };
    view.regressions.push(Regression { subject, before: cost("6.17.13"), after: cost("6.18.15") });
    let alert = the(&found(&view), AlertName::CapacityRegression);
    assert_eq!(alert.labels["subject"], "memmap_return");
    assert!(alert.annotation("description").contains("1 GiB are lost each time"), "{alert:?}");
}

#[test]
fn a_device_that_lost_capacity_is_an_alert_with_both_kernels_and_the_bytes() {
    let mut view = view::healthy();
    let device = DeviceKey {
        device: "dax0.0".to_owned(),
        serial: Some("0x1".to_owned()),
        start_address: 0xb_7000_0000,
        size_bytes: GIB,
    };
    let subject = RegressionSubject::Device(RegressedDevice {
        device,
        losses: vec![DeviceLoss::FewerBytesOnline { bytes: GIB / 2 }],
    });
    view.regressions.push(Regression { subject, before: cost("6.17.13", 0, 64), after: cost("6.18.15", 0, 64) });
    let alert = the(&found(&view), AlertName::DeviceRegression);
    assert_eq!(alert.labels["start_address"], "0xb70000000");
    assert_eq!(alert.annotation("summary"), "dax0.0 lost 512 MiB under Linux 6.18.15, compared with 6.17.13");
    assert!(alert.annotation("description").contains("512 MiB (536870912 bytes) in all"), "{alert:?}");
    // The store has what earlier kernels did.
    view.regressions.clear();
    view.store = StoreHealth { error: Some("no space left".to_owned()), ..StoreHealth::default() };
    assert!(found(&view).cannot_judge(&alert));
}
