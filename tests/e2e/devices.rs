//! Devices that no namespace owns, and namespaces on memory that is no NVDIMM: what `scan` reports is what the kernel counts.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::cxl::{self, Kind, Region};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{GIB, KIB, MIB, command, modules, namespace, ndctl, pfnwatch, regions, sysfs, wait};
use serde_json::{Value, json};

use crate::memmap_return;

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
    let start = start_address(&name)?;
    let same = json!({ "kind": "cxl", "parent": region.name, "size_bytes": GIB, "align_bytes": 2 * MIB, "start_address": start, "serial": "0x1" });
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
        &json!({ "kind": "cxl", "serial": "0x1+0x2", "size_bytes": 2 * GIB, "memmap_dram_bytes": 8 * MIB, "deduplicated": true }),
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

/// The events about devices, each awaited and compared; none may come that is not expected.
struct Life {
    agent: Agent,
    seen: usize,
}

impl Life {
    fn begin() -> Result<Self> {
        Ok(Self { agent: Agent::start(&[])?, seen: 0 })
    }

    /// The next events; each must have these values and no actor.
    fn next(&mut self, expected: &[Value]) -> Result<()> {
        let end = self.seen + expected.len();
        let events = self.agent.collect("events about devices", end, TIMEOUT, is_about_devices)?;
        for (event, expected) in events.iter().skip(self.seen).zip(expected) {
            contains(event, expected).with_context(|| format!("{event:#}"))?;
            ensure!(event.get("by").is_none(), "nobody was seen doing it: {event:#}");
            eprintln!("{event}");
        }
        self.seen = end;
        Ok(())
    }

    /// What happened within a moment may be one change or several: waits for one whose `after` has these values, and until it is quiet.
    fn until(&mut self, after: &Value) -> Result<()> {
        self.agent.event(&format!("a change to {after}"), TIMEOUT, |event| {
            let is_it = is_about_devices(event) && pfnwatch::ensure_contains(event.get("after")?, after).is_ok();
            is_it.then_some(())
        })?;
        thread::sleep(SETTLED);
        let events = self.agent.events(is_about_devices);
        let last = events.last().and_then(|event| event.get("after")).context("no change")?;
        pfnwatch::ensure_contains(last, after)?;
        events.iter().skip(self.seen).for_each(|event| eprintln!("{event}"));
        self.seen = events.len();
        Ok(())
    }
}

fn is_about_devices(event: &Value) -> bool {
    ["device_appeared", "device_changed", "device_disappeared", "memory_left_online"]
        .iter()
        .any(|kind| has_text(event, "event", kind))
}

/// Like `ensure_contains`, also of the objects within.
fn contains(json: &Value, expected: &Value) -> Result<()> {
    for (key, value) in expected.as_object().context("expected: an object")? {
        match (json.get(key), value) {
            (Some(found @ Value::Object(_)), Value::Object(_)) => contains(found, value)?,
            (found, value) => ensure!(found == Some(value), "{key} is not {value}: {json:#}"),
        }
    }
    Ok(())
}

fn changed(name: &str, before: &Value, after: &Value) -> Value {
    json!({ "event": "device_changed", "device": name, "before": before, "after": after })
}

/// A region that is committed while the agent runs, and each step of its device from there to system RAM and back.
#[test]
fn each_step_of_a_cxl_device_is_an_event() -> Result<()> {
    modules::load("dax_cxl")?;
    modules::load("device_dax")?;
    let mut life = Life::begin()?;
    let region = Region::create(Kind::Ram, &[1])?;
    let name = cxl::dax_device(&region)?;
    let none = json!({ "driver": null, "mode": "disabled", "memmap_dram_bytes": 0, "online_bytes": null });
    let mut appeared =
        json!({ "event": "device_appeared", "device": name, "kind": "cxl", "parent": region.name, "size_bytes": GIB });
    appeared.as_object_mut().context("an object")?.extend(none.as_object().context("an object")?.clone());
    life.next(std::slice::from_ref(&appeared))?;
    let start = start_address(&name)?;

    let devdax =
        json!({ "driver": "device_dax", "mode": "devdax", "memmap_place": "dram", "memmap_dram_bytes": 4 * MIB });
    cxl::bind(&name, "device_dax")?;
    life.next(&[changed(&name, &none, &devdax)])?;
    cxl::unbind(&name, "device_dax")?;
    life.next(&[changed(&name, &devdax, &none)])?;

    cxl::online_movable()?;
    let online = json!({ "driver": "kmem", "mode": "system-ram", "memmap_dram_bytes": 16 * MIB, "online_bytes": GIB, "offline_bytes": 0 });
    modules::load("kmem")?;
    life.until(&online)?;
    let block = cxl::block_size()?;
    cxl::offline(start, block)?;
    let partly = json!({ "online_bytes": GIB - block, "offline_bytes": block, "memmap_dram_bytes": 16 * MIB });
    life.next(&[changed(&name, &online, &partly)])?;
    cxl::online(start, block)?;
    life.next(&[changed(&name, &partly, &online)])?;
    cxl::offline(start, GIB)?;
    let offline = json!({ "driver": "kmem", "online_bytes": 0, "offline_bytes": GIB });
    life.until(&offline)?;
    // The driver removes what is offline when it lets go of the device.
    modules::unload("kmem")?;
    life.next(&[changed(&name, &offline, &none)])?;
    let gone = json!({ "event": "device_disappeared", "device": name, "before": none, "left_online_bytes": 0 });
    modules::unload("dax_cxl")?;
    life.next(std::slice::from_ref(&gone))?;
    modules::load("dax_cxl")?;
    life.next(&[appeared])?;
    region.delete()?;
    life.next(&[gone])?;
    life.agent.stop_and_count().map(drop)
}

fn start_address(device: &str) -> Result<u64> {
    let start = fs::read_to_string(format!("/sys/bus/dax/devices/{device}/resource"))?;
    Ok(u64::from_str_radix(start.trim().trim_start_matches("0x"), 16)?)
}

/// Binds a device to a driver and takes it away again, and compares what is reported as lost: so many pieces of 2 MiB.
fn loses(agent: &mut Agent, name: &str, pieces: u64, cycle: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = memmap_return::lines(agent).len();
    cycle()?;
    thread::sleep(SETTLED);
    let found = memmap_return::lines(agent).split_off(before);
    if pieces == 0 || !memmap_return::loses()? {
        ensure!(found.is_empty(), "nothing of {name} is lost: {found:#?}");
        return Ok(());
    }
    let [event] = found.as_slice() else { anyhow::bail!("one event of {name}, and not {found:#?}") };
    let lost = pieces * memmap_return::PIECE;
    let expected = json!({
        "device": name, "range_size_bytes": GIB, "removed_bytes": 16 * MIB, "lost_bytes": lost, "returned_bytes": 16 * MIB - lost,
        "at_most": false, "evidence": "code",
    });
    pfnwatch::ensure_contains(event, &expected)?;
    ensure!(event.pointer("/by/pid").is_some() && event.get("namespace").is_none(), "{event:#}");
    eprintln!("{event}");
    Ok(())
}

#[test]
fn lost_memmaps_are_reported_with_their_device() -> Result<()> {
    modules::load("dax_cxl")?;
    modules::load("device_dax")?;
    cxl::online_movable()?;
    let region = Region::create(Kind::Ram, &[1])?;
    let name = cxl::dax_device(&region)?;
    let start = start_address(&name)?;
    let mut agent = memmap_return::agent()?;
    // Deduplicated at 2 MiB, and plain at 4 KiB.
    for (align, pieces) in [(2 * MIB, 0), (PAGE, 8)] {
        cxl::set_align(&name, align)?;
        loses(&mut agent, &name, pieces, || {
            cxl::bind(&name, "device_dax")?;
            cxl::unbind(&name, "device_dax")
        })?;
    }
    cxl::set_align(&name, 2 * MIB)?;
    loses(&mut agent, &name, 8, || {
        modules::load("kmem")?;
        cxl::offline(start, GIB)?;
        modules::unload("kmem")
    })?;
    agent.stop_and_count()?;
    region.delete()
}

/// Its memory cannot be removed before the next boot: the region stays, and so does its place in the window.
#[test]
fn region_that_is_removed_in_use_leaves_its_memory_online() -> Result<()> {
    modules::load("dax_cxl")?;
    modules::load("kmem")?;
    cxl::online_movable()?;
    let region = Region::create(Kind::Ram, &[4])?;
    let name = cxl::dax_device(&region)?;
    let start = start_address(&name)?;
    wait::until("the device as system RAM", TIMEOUT, || {
        system_ram().is_ok_and(|it| it.contains(&(start, GIB))).then_some(())
    })?;
    let online = json!({ "driver": "kmem", "online_bytes": GIB });
    wait::until("its memory online", TIMEOUT, || device(&name, &online).ok())?;
    let mut life = Life::begin()?;
    region.disable()?;
    life.next(&[json!({ "event": "device_disappeared", "device": name, "before": online, "left_online_bytes": GIB })])?;
    life.agent.stop_and_count()?;
    modules::unload("kmem")
}

/// Its memory cannot be removed before the next boot: the region stays disabled.
#[test]
fn system_ram_of_a_destroyed_namespace_is_reported() -> Result<()> {
    for module in ["device_dax", "dax_pmem"] {
        modules::load(module)?;
    }
    cxl::online_movable()?;
    let _region = Region::create(Kind::Pmem, &[5])?;
    let nd = nd_region("/ndbus")?;
    for action in [["disable-region", &nd].as_slice(), &["init-labels", "-f", "all"], &["enable-region", &nd]] {
        command::run("/bin/ndctl", action)?;
    }
    let mut life = Life::begin()?;
    let wanted = NamespaceSpec { map: Map::Mem, ..NamespaceSpec::new(&nd, Mode::Devdax, GIB) };
    let made = creation::create(&wanted)?;
    let name = made.namespace.replace("namespace", "dax");
    wait::until("the dax device", TIMEOUT, || {
        fs::exists(format!("/sys/bus/dax/devices/{name}/driver")).ok().filter(|it| *it)
    })?;
    cxl::unbind(&name, "device_dax")?;
    modules::load("kmem")?;
    cxl::bind(&name, "kmem")?;
    let online = system_ram()?.iter().map(|(_, size)| size).sum::<u64>();
    ensure!(online > 0, "nothing is online");
    namespace::destroy(&made.namespace)?;
    let event = life.agent.event("the memory that stays", TIMEOUT, |event| {
        has_text(event, "event", "memory_left_online").then(|| event.clone())
    })?;
    eprintln!("{event}");
    pfnwatch::ensure_contains(&event, &json!({ "namespace": made.namespace, "namespace_uuid": made.namespace_uuid }))?;
    let left = event.get("left_online_bytes").and_then(Value::as_u64);
    let block = cxl::block_size()?;
    ensure!(
        left.is_some_and(|left| left > 0 && left % block == 0 && left <= online),
        "{online} were online: {event:#}"
    );
    ensure!(event.pointer("/by/pid").is_some(), "{event:#}");
    life.agent.stop_and_count()?;
    // It takes the memory of CXL devices by itself.
    modules::unload("kmem")?;
    command::run("/bin/ndctl", &["disable-region", &nd]).map(drop)
}
