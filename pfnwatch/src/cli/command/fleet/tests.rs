use super::*;
use crate::cli::fleet::{CapacityTotals, Host, HostProblem};

fn fleet() -> Fleet {
    let host = |name: &str, kernel: &str, max, excess| Host {
        host: name.to_owned(),
        cluster: Some("east".to_owned()),
        kernel: Some(kernel.to_owned()),
        max_struct_page_size_bytes: Some(max),
        page_size_bytes: Some(4096),
        sums: CapacityTotals {
            namespaces: 1,
            size_bytes: 1 << 40,
            excess_bytes: excess,
            plan_bytes: excess,
            memmap_dram_bytes: 4 << 20,
            memmap_dram_unknown: 1,
            ..CapacityTotals::default()
        },
        oversize: excess > 0,
        mode: Some("audit".to_owned()),
        ..Host::default()
    };
    let mut fleet = Fleet::keeping(10);
    fleet.add(host("a", "6.0.12", 64, 0));
    fleet.add(Host { ready: Some(false), ..host("b", "6.1.9", 128, 16 << 30) });
    let mut lossy = host("c", "6.18.15", 64, 0);
    (lossy.memmap_returned, lossy.sums.memmap_not_returned_bytes) = (Some(false), 16 << 20);
    lossy.sums.memmap_dram_unknown = 0;
    (lossy.sums.devices, lossy.sums.device_size_bytes, lossy.sums.device_online_bytes) = (2, 2 << 30, 1 << 30);
    (lossy.sums.device_memmap_dram_bytes, lossy.sums.device_memmap_dram_unknown) = (16 << 20, 1);
    fleet.add(lossy);
    fleet
}

#[test]
fn the_screen() {
    crate::cli::output::screens::compare("fleet", &render(&FleetReport::of(&fleet())));
}

#[test]
fn the_table_names_what_matters() {
    let text = render(&FleetReport::of(&fleet()));
    for expected in [
        "3 hosts, 3 namespaces of 3 TiB",
        "16 GiB of it lost",
        "DRAM for memmaps: 12 MiB, unknown for 2 namespaces.",
        "2 devices that no namespace owns, of 2 GiB: 1 GiB online as system RAM, 0 B stranded; DRAM for their memmaps: 16 MiB, \
         unknown for 1 device.",
        "Guard: 3 audit.",
        "REGRESSED Linux 6.1.9: a namespace of 1 TiB costs 16 GiB more than under the cheapest kernel",
        "REGRESSED Linux 6.18.15 does not return a memmap in DRAM when its device is disabled: 1 host with 4 MiB of \
         such memmaps; their agents have seen 16 MiB lost",
        "BLIND b",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert!(!text.contains("NOT COUNTED"), "{text}");
}

#[test]
fn what_is_missing_is_said_in_every_format() {
    let mut fleet = fleet();
    let whole = FleetReport::of(&fleet);
    fleet.not_counted(HostProblem::new("c.json", "it is damaged"));
    fleet.add(Host { sums: CapacityTotals { unknown_namespaces: 3, ..CapacityTotals::default() }, ..Host::default() });
    fleet.warning("a store did not answer".to_owned());
    let report = FleetReport::of(&fleet);
    let text = render(&report);
    for line in ["NOT COUNTED c.json: it is damaged", "UNKNOWN 3 namespaces", "WARNING a store did not answer"] {
        assert!(text.contains(line), "{text}");
        assert!(report.shortcomings().iter().any(|said| said.starts_with(line)), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&document(&report).unwrap()).unwrap();
    crate::testing::schema::check("fleet", &json).unwrap();
    assert_eq!(json["not_counted"]["first"][0]["where"], "c.json");
    assert!(report.is_incomplete() && !whole.is_incomplete());
}

#[test]
fn csv_has_a_line_for_each_release() {
    let csv = FleetReport::of(&fleet()).csv().unwrap();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert!(
        lines[0].starts_with("kernel,max_struct_page_size_bytes,struct_page_size_bytes,extra_bytes_per_tib,"),
        "{csv}"
    );
    assert!(lines[1].starts_with("6.1.9,128,,17179869184,"), "{csv}");
}

#[test]
fn dram_of_a_release_is_unknown_if_that_of_a_namespace_is() {
    let text = render(&FleetReport::of(&fleet()));
    let row = text.lines().find(|line| line.trim_start().starts_with("6.1.9")).unwrap();
    assert_eq!(row.split_whitespace().rev().nth(1), Some("?"), "{text}");
}
