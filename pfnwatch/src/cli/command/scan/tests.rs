//! The reports over a judged inventory; the built binary is run in tests/scan.rs.

use serde_json::Value;

use super::*;
use crate::model::inventory::{InfoBlocks, Inventory};
use crate::model::kernel::{KernelFacts, MemmapCounter};

use crate::cli::output::screens;
use crate::testing::tree::{DaxDevice, Pmem, Tree};

const GIB: u64 = 1 << 30;

fn scan(build: impl Fn(&Tree) -> std::io::Result<()>) -> ScanResult {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    ScanResult::assess(
        Inventory::read(&roots).unwrap(),
        &InfoBlocks::default(),
        KernelFacts::sample(),
        &Thresholds::default(),
    )
}

pub(super) fn mixed() -> ScanResult {
    scan(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() })?;
        tree.namespace(&Pmem { id: 1, start: 20 * GIB, dax: true, map: "ram", ..Pmem::default() })?;
        tree.unclaimed("namespace1.0", "memory", GIB)?;
        tree.namespace(&Pmem { id: 2, ..Pmem::default() })?;
        tree.write("pfn0.3", &[("size", "-1")])
    })
}

#[test]
fn an_oversize_namespace_shows_who_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut scan = mixed();
    let json = |scan: &ScanResult| serde_json::to_value(ScanReport::from(scan)).unwrap()["namespaces"].clone();
    assert_eq!(json(&scan)[0]["users"], Value::Null);
    std::fs::write(folder.path().join("swaps"), "/dev/pmem0 partition\n").unwrap();
    let root = folder.path().to_owned();
    scan.find_users(&SysfsRoots { sysfs: root.clone(), procfs: root, dev: None });
    assert_eq!(json(&scan)[0]["users"][0]["command"], "swapoff /dev/pmem0");
    assert_eq!(json(&scan)[1]["users"], Value::Null, "it is not oversize");
    assert!(table::render(&scan, Terminal::file()).contains("\n  in use: /dev/pmem0 is swap\n"));
}

#[test]
fn json_has_a_schema_and_bytes_for_everything_known() {
    let json = serde_json::to_value(ScanReport::from(&mixed())).unwrap();
    assert_eq!((&json["schema"], &json["verdict"]), (&Value::from(1), &Value::from("oversize")));
    let namespace = |index: usize| &json["namespaces"][index];
    let first = namespace(0);
    for (key, value) in [
        ("size_bytes", 16 * GIB),
        ("reservation_bytes", 514 << 20),
        ("ideal_bytes", 258 << 20),
        ("excess_bytes", 256 << 20),
        ("unused_bytes", 256 << 20),
        ("usable_bytes", 16 * GIB - (514 << 20)),
    ] {
        assert_eq!(first[key], Value::from(value), "{key}");
    }
    assert_eq!((&first["class"], &first["map"], &first["exact"]), (&"A".into(), &"dev".into(), &true.into()));
    assert_eq!(first["excess_percent"], Value::from(1.56));
    assert_eq!((&namespace(2)["verdict"], &namespace(2)["excess_bytes"]), (&"unknown".into(), &Value::Null));
    assert_eq!((&namespace(3)["map"], &namespace(3)["verdict"]), (&"mem".into(), &"ok".into()));
    assert_eq!((&json["totals"]["oversize"], &json["totals"]["unknown"]), (&1.into(), &1.into()));
}

#[test]
fn csv_has_the_same_rows() {
    let text = csv::render(&mixed()).unwrap();
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(&rows[0][column("excess_bytes")], (256 << 20).to_string());
    assert_eq!((&rows[2][column("excess_bytes")], &rows[2][column("verdict")]), ("", "unknown"));
}

/// One HELP and one TYPE for each metric, before its samples; one sample for each series; uuids in the info metric
/// alone.
#[test]
fn metrics_are_well_formed() {
    let text = metrics::render(&metrics::of_scan(&mixed()));
    let mut series = std::collections::BTreeSet::new();
    let mut metric = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            metric = help.split(' ').next().unwrap();
            assert!(text.contains(&format!("# TYPE {metric} gauge\n")));
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<u64>().unwrap();
        assert!(name == metric || name.starts_with(&format!("{metric}{{")), "{line}");
        assert!(series.insert(name), "twice: {name}");
        assert_eq!(name.contains("uuid"), metric == "pfnwatch_namespace_info", "{line}");
    }
    let labels = "namespace=\"namespace0.0\",region=\"region0\",mode=\"fsdax\",map=\"dev\"";
    assert!(text.contains(&format!("pfnwatch_namespace_excess_bytes{{{labels}}} 268435456\n")));
    assert!(!text.contains("excess_bytes{namespace=\"namespace0.2\""), "what is unknown has no value");
    assert!(text.contains("pfnwatch_host_oversize 1\n"));
}

#[test]
fn the_table_is_plain_where_it_must_be() {
    let plain = table::render(&mixed(), Terminal::default());
    assert!(plain.is_ascii(), "{plain}");
    assert!(plain.contains("OVERSIZE (A)") && plain.contains("=#......................"), "{plain}");
    assert!(plain.contains("namespace0.2: pfn0.3/size: `-1` is not a value it can have"), "{plain}");
    let coloured = table::render(&mixed(), Terminal { colour: true, unicode: true });
    assert!(coloured.contains("\x1b[31m█\x1b[0m"), "{coloured}");
}

#[test]
fn the_screen() {
    for (name, terminal) in screens::TERMINALS {
        screens::compare(&format!("scan_{name}"), &table::render(&mixed(), terminal));
    }
}

#[test]
fn inferred_numbers_are_marked() {
    let scan = scan(|tree| {
        tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() })?;
        std::fs::remove_file(tree.device("pfn0.1").join("resource"))
    });
    let text = table::render(&scan, Terminal::default());
    assert!(text.contains("~514 MiB") && text.contains("inferred from sizes"), "{text}");
}

#[test]
fn an_empty_host_is_one_friendly_line() {
    let text = table::render(&scan(|_| Ok(())), Terminal::default());
    assert_eq!(
        text,
        "No persistent memory and no other device with a memmap on this host: there is nothing to judge.\n"
    );
    let region = table::render(&scan(|tree| tree.region(0, 4 * GIB, 64 * GIB)), Terminal::default());
    assert!(region.starts_with("No namespaces in 1 region(s)"), "{region}");
}

#[test]
fn a_report_replaces_the_old_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.prom");
    replace(&file, "old").unwrap();
    replace(&file, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(replace(Path::new("/proc/none/x.prom"), "new").is_err());
}

#[test]
fn the_memmap_in_dram_is_in_every_format_beside_the_kernels_count() {
    let mut scan = mixed();
    let json = serde_json::to_value(ScanReport::from(&scan)).unwrap();
    assert_eq!(json["namespaces"][0]["memmap_dram_bytes"], Value::from(0), "map=dev, whole sections");
    assert_eq!(json["namespaces"][1]["memmap_dram_bytes"], Value::from(64 << 20), "deduplicated");
    assert_eq!(json["namespaces"][2]["memmap_dram_bytes"], Value::Null);
    assert_eq!(json["namespaces"][3]["memmap_dram_bytes"], Value::from(16 << 20), "mapped whole");
    assert_eq!((&json["totals"]["memmap_dram_bytes"], &json["memmap_counter"]), (&(80 << 20).into(), &Value::Null));
    assert!(csv::render(&scan).unwrap().contains("memmap_dram_bytes"));
    let text = metrics::render(&metrics::of_scan(&scan));
    assert!(text.contains("pfnwatch_host_memmap_dram_bytes 83886080\n"), "{text}");
    assert!(text.contains("pfnwatch_host_memmap_dram_unknown 1\n"), "{text}");
    let counter = MemmapCounter { bytes: 400 << 20, may_overcount_deduplicated: true };
    scan.memmap_counter = Some(counter);
    let text = table::render(&scan, Terminal::default());
    assert!(text.contains("DRAM for memmaps: 80 MiB (unknown for 1 namespace); nr_memmap_pages"), "{text}");
    assert!(text.contains("400 MiB") && text.contains("may count deduplicated ones in full"), "{text}");
    scan.memmap_counter = Some(MemmapCounter { may_overcount_deduplicated: false, ..counter });
    assert!(!table::render(&scan, Terminal::default()).contains("in full"));
}

fn with_device() -> ScanResult {
    scan(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem::default())?;
        tree.memory_hotplug(128 << 20, "N")?;
        tree.memory_blocks(366..374, "online")?;
        tree.dax_device(&DaxDevice { name: "dax1.0", driver: Some("kmem"), ..DaxDevice::default() })
    })
}

#[test]
fn devices_are_in_every_format_apart_from_persistent_memory() {
    let scan = with_device();
    let text = table::render(&scan, Terminal::default());
    for line in [
        "1 namespace, 16 GiB: 15.7 GiB usable, 258 MiB reserved; 0 oversize, 0 refused, 0 unknown\n1 device, 1 GiB: 1 GiB usable\n",
        "DRAM for memmaps: 16 MiB\n",
        "dax1.0: memmap_on_memory has no effect",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let row = text.lines().find(|line| line.trim_start().starts_with("dax1.0 ")).unwrap();
    let cells: Vec<_> = row.split_whitespace().take(4).collect();
    assert_eq!(cells, ["dax1.0", "cxl", "system-ram", "mem"]);
    let json = serde_json::to_value(ScanReport::from(&scan)).unwrap();
    let device = &json["devices"][0];
    for (key, value) in [
        ("device", Value::from("dax1.0")),
        ("kind", "cxl".into()),
        ("parent", "region0".into()),
        ("memmap_place", "dram".into()),
        ("memmap_dram_bytes", (16 << 20).into()),
        ("online_bytes", GIB.into()),
        ("stranded_bytes", 0.into()),
        ("memmap_on_memory_configured", true.into()),
        ("memmap_on_memory_effective", false.into()),
    ] {
        assert_eq!(device[key], value, "{key}");
    }
    assert_eq!(
        (&json["totals"]["size_bytes"], &json["device_totals"]["size_bytes"]),
        (&(16 * GIB).into(), &GIB.into())
    );
    let lines = csv::render(&scan).unwrap();
    assert!(
        lines.starts_with("kind,name,") && lines.contains("\nnamespace,namespace0.0,region0,fsdax,dev,"),
        "{lines}"
    );
    assert!(lines.contains("\ncxl,dax1.0,region0,system-ram,,kmem,"), "{lines}");
    let prom = metrics::render(&metrics::of_scan(&scan));
    let labels = "device=\"dax1.0\",kind=\"cxl\",mode=\"system-ram\"";
    assert!(prom.contains(&format!("pfnwatch_device_memmap_dram_bytes{{{labels}}} 16777216\n")), "{prom}");
    assert!(prom.contains("pfnwatch_host_devices 1\n") && prom.contains("pfnwatch_host_namespaces 1\n"), "{prom}");
}

#[test]
fn one_kind_alone_can_be_listed() {
    let mut devices = with_device();
    devices.keep_devices();
    let text = table::render(&devices, Terminal::default());
    assert!(text.contains("dax1.0") && !text.contains("namespace0.0") && !text.contains("1 namespace"), "{text}");
    let mut namespaces = with_device();
    namespaces.keep_namespaces();
    let text = table::render(&namespaces, Terminal::default());
    assert!(
        !text.contains("dax1.0") && text.contains("namespace0.0") && text.contains("DRAM for memmaps: 0 B"),
        "{text}"
    );
}
