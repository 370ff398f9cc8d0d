//! A host compared with its own report, and with reports of other days and hosts.

use serde_json::{Value, json};

use super::{PairedBy, *};
use crate::cli::command::scan::ScanReport;
use crate::cli::command::scan::tests::mixed;

fn compared(change: impl FnOnce(&mut Value)) -> Comparison {
    let scan = mixed();
    let mut report = serde_json::to_value(ScanReport::from(&scan)).unwrap();
    change(&mut report);
    Comparison::of(EarlierReport::parse(&report.to_string()).unwrap(), &scan)
}

#[test]
fn the_same_host_has_not_changed() {
    let comparison = compared(|_| ());
    assert!(!comparison.regressed() && comparison.only_before.is_empty() && comparison.only_after.is_empty());
    assert!(comparison.namespaces.iter().all(|pair| !pair.changed()));
    let text = comparison.render(ScanFormat::Table).unwrap();
    assert!(text.contains("changed: 0.") && text.contains("No namespace costs more"), "{text}");
}

#[test]
fn what_costs_more_is_found_by_uuid_by_place_and_by_name() {
    for (by, key) in [
        (PairedBy::NamespaceUuid, None),
        (PairedBy::Address, Some("namespace_uuid")),
        (PairedBy::Name, Some("start_address")),
    ] {
        let comparison = compared(|report| {
            let row = &mut report["namespaces"][0];
            row["reservation_bytes"] = json!(258 << 20);
            row["excess_bytes"] = json!(0);
            for other in ["namespace_uuid", "start_address"] {
                row[other] = if key.is_some() { Value::Null } else { row[other].clone() };
            }
            if by == PairedBy::Address {
                row["start_address"] = json!(4_u64 << 30);
            }
        });
        let pair = comparison.namespaces.iter().find(|pair| pair.regressed).unwrap();
        assert_eq!((pair.paired_by, pair.more_bytes), (by, Some(256 << 20)), "{pair:?}");
        assert_eq!((comparison.regressed(), comparison.lost_bytes), (true, 256 << 20));
        let text = comparison.render(ScanFormat::Table).unwrap();
        assert!(text.contains("Capacity has regressed: 256 MiB are lost."), "{text}");
        let json: Value = serde_json::from_str(&comparison.render(ScanFormat::Json).unwrap()).unwrap();
        assert_eq!((&json["schema"], &json["regressed"]), (&json!(1), &json!(true)));
    }
}

#[test]
fn another_map_or_size_is_no_regression() {
    for change in [
        &(|row: &mut Value| {
            row["reservation_bytes"] = json!(2 << 20);
            row["excess_bytes"] = json!(256 << 20);
            row["map"] = json!("mem");
        }) as &dyn Fn(&mut Value),
        &|row| {
            row["reservation_bytes"] = json!(2 << 20);
            row["excess_bytes"] = json!(0);
            row["size_bytes"] = json!(8_u64 << 30);
        },
    ] {
        let comparison = compared(|report| change(&mut report["namespaces"][0]));
        assert!(
            !comparison.regressed() && comparison.namespaces.iter().any(ComparedNamespace::changed),
            "{comparison:?}"
        );
    }
}

#[test]
fn what_came_and_what_went_is_named() {
    let comparison = compared(|report| {
        let row = &mut report["namespaces"][0];
        for key in ["namespace_uuid", "start_address", "size_bytes"] {
            row[key] = Value::Null;
        }
        row["namespace"] = json!("namespace9.9");
    });
    assert_eq!((comparison.only_before.len(), comparison.only_after.len()), (1, 1));
    assert!(comparison.render(ScanFormat::Table).unwrap().contains("there only then: namespace9.9"));
}

#[test]
fn what_is_no_report_is_told() {
    for text in ["", "[]", "{\"schema\":1}", "\0", "{\"schema\": 1e99}"] {
        assert!(EarlierReport::parse(text).is_err(), "{text}");
    }
    let later = json!({"schema": 2, "kernel": {"release": "x"}, "totals": {"reservation_bytes": 0, "excess_bytes": 0}, "namespaces": []});
    let error = EarlierReport::parse(&later.to_string()).unwrap_err().to_string();
    assert!(error.contains("schema is 2"), "{error}");
    assert!(compared(|_| ()).render(ScanFormat::Csv).unwrap_err().is::<ExitContext>());
}
