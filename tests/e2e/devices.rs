//! Devices that no namespace owns, and namespaces on memory that is no NVDIMM: what `scan` reports is what the kernel counts.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::cxl::{self, Kind, Region};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{GIB, KIB, MIB, command, modules, namespace, ndctl, pfnwatch, regions, sysfs, wait};
use serde_json::{Value, json};

const PAGE: u64 = 4 * KIB;
/// The counters are folded once a second.
const SETTLED: Duration = Duration::from_millis(2500);
const TIMEOUT: Duration = Duration::from_secs(30);

/// `nr_memmap_pages` in bytes, when it no longer changes.
fn counted() -> Result<u64> {
    thread::sleep(SETTLED);
    let text = fs::read_to_string("/proc/vmstat")?;
    let pages = text.lines().find_map(|line| line.strip_prefix("nr_memmap_pages "));
    Ok(pages.context("no nr_memmap_pages")?.parse::<u64>()? * PAGE)
}

/// The row of a device; it must have these values.
fn device(name: &str, expected: &Value) -> Result<Value> {
    let scan = pfnwatch::scan(0)?;
    let rows = scan.get("devices").and_then(Value::as_array).context("a scan without devices")?;
    let row = rows.iter().find(|row| row.get("device").is_some_and(|found| found == name));
    let row = row.with_context(|| format!("the scan has no {name}: {scan:#}"))?;
    pfnwatch::ensure_contains(row, expected)?;
    Ok(row.clone())
}

/// What of `/proc/iomem` is `System RAM (kmem)`: start and size of each range.
fn system_ram() -> Result<Vec<(u64, u64)>> {
    let text = fs::read_to_string("/proc/iomem")?;
    let ranges = text.lines().filter_map(|line| line.trim().strip_suffix(" : System RAM (kmem)"));
    let range = |range: &str| {
        let (start, end) = range.split_once('-').context("no range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        Ok((start, end - start + 1))
    };
    ranges.map(range).collect()
}

#[test]
fn cxl_memory_is_a_row_in_each_mode() -> Result<()> {
    let region = Region::create(Kind::Ram, &[1])?;
    let name = cxl::dax_device(&region)?;
    let start = fs::read_to_string(format!("/sys/bus/dax/devices/{name}/resource"))?;
    let start = u64::from_str_radix(start.trim().trim_start_matches("0x"), 16)?;
    let same = json!({ "kind": "cxl", "parent": region.name, "size_bytes": GIB, "align_bytes": 2 * MIB, "start_address": start });
    device(&name, &same)?;
    device(&name, &json!({ "mode": "disabled", "driver": null, "memmap_place": "none", "memmap_dram_bytes": 0 }))?;

    let without = counted()?;
    modules::load("device_dax")?;
    cxl::bind(&name, "device_dax")?;
    device(
        &name,
        &json!({
            "mode": "devdax", "driver": "device_dax", "memmap_place": "dram", "memmap_dram_bytes": 4 * MIB, "deduplicated": true,
            "usable_bytes": GIB, "online_bytes": null,
        }),
    )?;
    ensure!(counted()? == without + 4 * MIB, "the kernel counts {} more", counted()? - without);
    cxl::unbind(&name, "device_dax")?;
    device(&name, &same)?;

    // It takes the memory of CXL devices by itself, and the kernel sets it online.
    cxl::online_movable()?;
    modules::load("kmem")?;
    let row = device(
        &name,
        &json!({
            "mode": "system-ram", "driver": "kmem", "memmap_place": "dram", "memmap_bytes": 16 * MIB,
            "memmap_dram_bytes": 16 * MIB, "deduplicated": false, "usable_bytes": GIB, "online_bytes": GIB, "offline_bytes": 0,
            "stranded_bytes": 0, "memmap_on_memory_configured": true, "memmap_on_memory_effective": false,
        }),
    )?;
    ensure!(counted()? == without + 16 * MIB, "the kernel counts {} more", counted()? - without);
    ensure!(system_ram()? == [(start, GIB)], "{:?} is not {row:#}", system_ram()?);
    let text = command::run("/bin/pfnwatch", &["scan"])?;
    ensure!(text.contains(&name) && text.contains("DRAM for memmaps: 16 MiB"), "{text}");
    let unprivileged = command::attempt_as_nobody("/bin/pfnwatch", &["scan", "--only", "devices"])?;
    ensure!(unprivileged.stdout.contains("run pfnwatch as root"), "{unprivileged:?}");

    let block = cxl::block_size()?;
    cxl::offline(start, block)?;
    device(&name, &json!({ "online_bytes": GIB - block, "offline_bytes": block, "memmap_dram_bytes": 16 * MIB }))?;
    cxl::offline(start, GIB)?;
    cxl::unbind(&name, "kmem")?;
    device(&name, &json!({ "mode": "disabled", "memmap_dram_bytes": 0, "online_bytes": null }))?;
    ensure!(counted()? == without, "the kernel still counts {} more", counted()? - without);
    modules::unload("kmem")?;
    region.delete()
}

#[test]
fn two_interleaved_cxl_devices_are_one_row() -> Result<()> {
    let region = Region::create(Kind::Ram, &[1, 2])?;
    let name = cxl::dax_device(&region)?;
    modules::load("device_dax")?;
    cxl::bind(&name, "device_dax")?;
    device(
        &name,
        &json!({ "kind": "cxl", "size_bytes": 2 * GIB, "memmap_dram_bytes": 8 * MIB, "deduplicated": true }),
    )?;
    cxl::unbind(&name, "device_dax")?;
    region.delete()
}

/// Enables the region of the device that `is_it` recognizes by its place, and returns the region.
fn nd_region(is_it: &str) -> Result<String> {
    wait::until(&format!("a region in {is_it}"), TIMEOUT, || {
        sysfs::devices("region").into_iter().find(|region| {
            let place = fs::canonicalize(sysfs::folder(region)).unwrap_or_default();
            place.to_string_lossy().contains(is_it) && sysfs::driver(region).is_some()
        })
    })
}

/// A namespace made by ndctl with its memmap on the memory itself has the reservation of the formula.
fn has_an_ideal_reservation(region: &str) -> Result<()> {
    modules::load("nd_pmem")?;
    let made = ndctl::create(region, &["-m", "fsdax", "-M", "dev", "-s", "256M"])?;
    let scan = pfnwatch::scan(0)?;
    let row = pfnwatch::row(&scan, ndctl::text(&made, "dev")?)?;
    pfnwatch::ensure_contains(
        row,
        &json!({ "verdict": "ok", "map": "dev", "size_bytes": 256 * MIB, "excess_bytes": 0 }),
    )?;
    ensure!(row.get("reservation_bytes") == row.get("ideal_bytes") && !row["ideal_bytes"].is_null(), "{row:#}");
    ensure!(ndctl::number(&made, "size")? == row["usable_bytes"], "{made:#} is not {row:#}");
    ndctl::destroy(ndctl::text(&made, "dev")?)
}

/// The guard refuses an oversize creation there and allows an exempt one. What exists is enabled, whatever it costs.
fn is_guarded(region: &str) -> Result<()> {
    let wanted = |size_bytes| NamespaceSpec::new(region, Mode::Fsdax, size_bytes);
    let existing = creation::create(&wanted(64 * MIB))?;
    namespace::disable(&existing.namespace)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    namespace::enable(&existing.namespace)?;
    guard.set_up(&existing.namespace_uuid, "existing")?;
    // 4 MiB more than with half the struct page: more than the align.
    let made = creation::prepare(&wanted(384 * MIB))?;
    let denied = guard.denies(&made)?;
    pfnwatch::ensure_contains(&denied, &json!({ "region": region }))?;
    command::run("/bin/pfnwatch", &["allow", "--region", region, "--once", "--for", "10m", "--reason", "test"])?;
    guard.passes(&made)?;
    guard.set_up(&made.namespace_uuid, "made")?;
    for namespace in [&existing.namespace, &made.namespace] {
        namespace::disable(namespace)?;
        namespace::enable(namespace)?;
        namespace::disable(namespace)?;
        namespace::destroy(namespace)?;
    }
    Ok(())
}

#[test]
fn persistent_cxl_memory_has_namespaces() -> Result<()> {
    let region = Region::create(Kind::Pmem, &[3])?;
    let nd = nd_region("/ndbus")?;
    for action in [["disable-region", &nd].as_slice(), &["init-labels", "-f", "all"], &["enable-region", &nd]] {
        command::run("/bin/ndctl", action)?;
    }
    has_an_ideal_reservation(&nd)?;
    is_guarded(&nd)?;
    command::run("/bin/ndctl", &["disable-region", &nd])?;
    region.delete()
}

#[test]
fn virtio_pmem_is_mapped_whole() -> Result<()> {
    modules::load("virtio_pmem")?;
    modules::load("nd_pmem")?;
    let region = nd_region("/virtio")?;
    let namespaces = regions::namespaces(&region)?;
    let namespace = namespaces.first().context("no namespace")?;
    wait::until("the driver of virtio-pmem's namespace", TIMEOUT, || sysfs::driver(namespace))?;
    let scan = pfnwatch::scan(0)?;
    pfnwatch::ensure_contains(
        pfnwatch::row(&scan, namespace)?,
        &json!({
            "verdict": "ok", "map": "mem", "size_bytes": GIB, "usable_bytes": GIB, "reservation_bytes": 0,
            "memmap_dram_bytes": 16 * MIB, "namespace_uuid": null,
        }),
    )?;
    // Each device that is bound holds the module.
    command::run("/bin/ndctl", &["disable-region", &region])?;
    modules::unload("virtio_pmem")
}

/// The `set_cookie` of every ramdax region.
const RAMDAX_COOKIE: &str = "0xcafebeefcafebeef";
const PLATFORM: &str = "/sys/bus/platform";

/// The regions that ramdax makes of DRAM which the kernel sets aside by its command line, with labels at their ends; by address.
struct Ramdax {
    regions: [String; 2],
}

impl Ramdax {
    fn start() -> Result<Self> {
        modules::load("ramdax")?;
        modules::load("nd_e820")?;
        fs::write(format!("{PLATFORM}/devices/e820_pmem/driver_override"), "ramdax")?;
        fs::write(format!("{PLATFORM}/drivers/e820_pmem/unbind"), "e820_pmem")?;
        fs::write(format!("{PLATFORM}/drivers/ramdax/bind"), "e820_pmem")?;
        let mut regions = wait::until("two regions of ramdax", TIMEOUT, || {
            let found: Vec<_> = sysfs::devices("region").into_iter().filter(|region| is_enabled(region)).collect();
            <[String; 2]>::try_from(found).ok()
        })?;
        regions.sort_by_key(|region| sysfs::number(region, "resource").unwrap_or(0));
        Ok(Self { regions })
    }

    fn stop(self) -> Result<()> {
        fs::write(format!("{PLATFORM}/drivers/ramdax/unbind"), "e820_pmem")?;
        fs::write(format!("{PLATFORM}/devices/e820_pmem/driver_override"), "\n")?;
        modules::unload("nd_e820")
    }
}

fn is_enabled(region: &str) -> bool {
    let place = fs::canonicalize(sysfs::folder(region)).unwrap_or_default();
    place.to_string_lossy().contains("/e820_pmem/") && sysfs::driver(region).is_some()
}

#[test]
fn ramdax_has_namespaces() -> Result<()> {
    let ramdax = Ramdax::start()?;
    let scan = pfnwatch::scan(0)?;
    let rows = scan.get("regions").and_then(Value::as_array).context("no regions")?;
    for region in &ramdax.regions {
        let row = rows.iter().find(|row| row["region"] == region.as_str()).context("the scan has no such region")?;
        ensure!(row["set_cookie"] == RAMDAX_COOKIE, "{row:#}");
    }
    let [region, _] = &ramdax.regions;
    has_an_ideal_reservation(region)?;
    is_guarded(region)?;
    ramdax.stop()
}

/// An exemption by the `set_cookie` that both have is for neither, and what is known of one is not known of the other.
#[test]
fn ramdax_regions_with_one_set_cookie_are_told_apart() -> Result<()> {
    let ramdax = Ramdax::start()?;
    let [first, second] = &ramdax.regions;
    let wanted = |region: &str| NamespaceSpec::new(region, Mode::Fsdax, 384 * MIB);
    modules::load("nd_pmem")?;
    let existing = creation::create(&wanted(first))?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce).exempt_set_cookie(RAMDAX_COOKIE))?;

    let status = guard::status()?;
    let skipped = status["skipped_exemptions"].as_array().context("no skipped_exemptions")?;
    let [skipped] = skipped.as_slice() else { anyhow::bail!("one exemption is skipped: {status:#}") };
    ensure!(skipped["skip_reason"].as_str().is_some_and(|reason| reason.starts_with("several regions")), "{skipped:#}");
    let allowed = guard::pfnwatch(&["allow", "--region", RAMDAX_COOKIE, "--for", "10m", "--reason", "test"])?;
    ensure!(allowed.code == Some(1) && allowed.stderr.contains("several regions"), "{allowed:?}");

    // The block of the first region's namespace is on none of the second's.
    let made = creation::claim(&wanted(second), &creation::prepare_empty(&wanted(second))?, &existing.block_uuid)?;
    guard.denies(&made)?;
    namespace::disable(&existing.namespace)?;
    namespace::enable(&existing.namespace)?;
    // What is known of the first ends when it is enabled again, and what is known of the second remains.
    sysfs::unbind(first)?;
    sysfs::bind(first, "nd_region")?;
    guard.denies(&made)?;
    guard::succeed(&["allow", "--region", second, "--once", "--for", "10m", "--reason", "test"])?;
    guard.passes(&made)?;
    guard.judgement("exempt", &made)?;
    guard.judged_only(&["denied", "denied", "exempt"])?;
    for region in &ramdax.regions {
        for namespace in regions::namespaces(region)? {
            namespace::destroy(&namespace)?;
        }
    }
    ramdax.stop()
}
