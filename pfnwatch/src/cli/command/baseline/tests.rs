//! Reports over made-up event stores.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::cli::output::json::document;
use crate::model::capacity::{Acceptance, Cost, CostRecord, DeviceKey, DeviceRecord, DeviceState, NamespaceKey};
use crate::model::store::BootRow;

fn boot(number: u64, max: Option<u64>) -> BootRow {
    let seen = UNIX_EPOCH + Duration::from_secs(86_400 * number);
    BootRow {
        boot_id: format!("boot {number}"),
        module_build_id: None,
        release: format!("6.{number}"),
        struct_page_size: Some(64),
        max_struct_page_size: max,
        memmap_returned: None,
        evidence: vec!["its code".into()],
        first_seen: seen,
        last_seen: seen,
        superseded: false,
        accepted: None,
    }
}

fn record() -> CostRecord {
    let cost = |kernel: &str, mib: u64| Cost {
        kernel: kernel.into(),
        seen: "1970-01-02T00:00:00Z".into(),
        reservation_bytes: (258 + mib) << 20,
        excess_bytes: mib << 20,
        max_struct_page_size_bytes: None,
    };
    CostRecord {
        namespace: NamespaceKey {
            namespace: "namespace0.0".into(),
            namespace_uuid: None,
            start_address: 4 << 30,
            size_bytes: 16 << 30,
        },
        last: Some(cost("6.1", 256)),
        baseline: cost("6.0", 0),
        accepted: None,
    }
}

#[test]
fn a_regressed_host_with_a_regressed_namespace() {
    let report =
        BaselineReport::of(vec![boot(0, Some(64)), boot(1, Some(128))], vec![record()], Vec::new(), "boot 1", 4096);
    crate::testing::schema::check("baseline", &serde_json::from_str(&document(&report).unwrap()).unwrap()).unwrap();
    let text = render(&report);
    for part in [
        "*  6.1            64 B          128 B     32.0 GiB  1970-01-02T00:00:00",
        "   6.0            64 B           64 B     16.0 GiB",
        "namespace0.0  16 GiB  514 MiB   258 MiB  6.0    256 MiB",
        "REGRESSED a namespace of 1 TiB with map=dev costs 16 GiB more: 32.0 GiB now",
        "REGRESSED namespace0.0 of 16 GiB costs 256 MiB more: 514 MiB now",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["kernels"][1]["current"], &json["kernels"][0]["current"]), (&json!(true), &json!(false)));
    assert_eq!(json["regressions"][0]["lost_bytes"], json!(16_u64 << 30));
    assert_eq!(
        (&json["regressions"][1]["subject"], &json["namespaces"][0]["lost_bytes"]),
        (&json!("namespace"), &json!(256 << 20))
    );
}

#[test]
fn a_store_of_another_boot_is_read_as_of_its_last() {
    let report =
        BaselineReport::of(vec![boot(1, Some(128)), boot(2, Some(64))], Vec::new(), Vec::new(), "this one", 4096);
    assert!(report.regressions.is_empty() && render(&report).contains("*  6.2"));
    let report = BaselineReport::of(vec![boot(1, Some(64)), boot(2, None)], Vec::new(), Vec::new(), "this one", 4096);
    assert!(render(&report).contains("?"), "an unknown number is shown as unknown");
    assert!(
        render(&BaselineReport::of(Vec::new(), Vec::new(), Vec::new(), "", 4096)).contains("No agent has recorded yet")
    );
}

#[test]
fn what_was_accepted_is_the_baseline_and_says_who_and_why() {
    let acceptance = || {
        let (by, reason) = ("pfnwatch (pid 7, uid 0)".into(), "ticket 7".into());
        Some(Acceptance { by, reason, time: "1970-01-03T00:00:00Z".into() })
    };
    let before = BootRow { superseded: true, accepted: acceptance(), ..boot(0, Some(64)) };
    let boots = vec![before, BootRow { accepted: acceptance(), ..boot(1, Some(128)) }, boot(2, Some(128))];
    let same = record().last.unwrap();
    let report = BaselineReport::of(
        boots,
        vec![CostRecord { baseline: same, accepted: acceptance(), ..record() }],
        Vec::new(),
        "boot 2",
        4096,
    );
    let text = render(&report);
    let who = "ticket 7; by pfnwatch (pid 7, uid 0) on 1970-01-03T00:00:00Z";
    let host = format!("accepted  a namespace of 1 TiB with map=dev may cost 32.0 GiB: {who}\n");
    assert_eq!(text.matches(&host).count(), 1, "{text}");
    assert!(text.contains(&format!("accepted  namespace0.0 of 16 GiB may cost 514 MiB: {who}\n")), "{text}");
    assert!(report.regressions.is_empty(), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["kernels"][0]["superseded"], &json["kernels"][1]["superseded"]), (&json!(true), &json!(false)));
    assert_eq!(json["namespaces"][0]["accepted"]["reason"], "ticket 7");
}

#[test]
fn a_device_that_serves_less_than_under_an_earlier_kernel() {
    let state = |kernel: &str, online_bytes| DeviceState {
        kernel: kernel.into(),
        seen: "1970-01-02T00:00:00Z".into(),
        mode: "system-ram".into(),
        memmap_place: Some(MemmapPlace::Dram),
        memmap_bytes: Some(online_bytes / 64),
        deduplicated: Some(false),
        online_bytes,
    };
    let record = DeviceRecord {
        device: DeviceKey {
            device: "dax0.0".into(),
            serial: Some("0x1".into()),
            start_address: 4 << 30,
            size_bytes: 1 << 30,
        },
        last: Some(state("6.1", 512 << 20)),
        baseline: state("6.0", 1 << 30),
        accepted: None,
    };
    let report = |record| BaselineReport::of(Vec::new(), Vec::new(), vec![record], "boot 1", 4096);
    let regressed = report(record.clone());
    crate::testing::schema::check("baseline", &serde_json::from_str(&document(&regressed).unwrap()).unwrap()).unwrap();
    let text = render(&regressed);
    for part in [
        "dax0.0  1 GiB  system-ram, 512 MiB online, memmap in DRAM  system-ram, 1 GiB online, memmap in DRAM  6.0    512 MiB",
        "REGRESSED dax0.0 of 1 GiB lost capacity under Linux 6.1, compared with Linux 6.0: 512 MiB fewer are online",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let acceptance = Acceptance { by: "root".into(), reason: "ticket 7".into(), time: "1970-01-03T00:00:00Z".into() };
    let accepted = report(DeviceRecord { accepted: Some(acceptance), baseline: state("6.1", 512 << 20), ..record });
    let text = render(&accepted);
    assert!(accepted.regressions.is_empty() && text.contains("Nothing costs more"), "{text}");
    let who = "accepted  dax0.0 may serve system-ram, 512 MiB online, memmap in DRAM: ticket 7; by root on 1970-01-03";
    assert!(text.contains(who), "{text}");
}
