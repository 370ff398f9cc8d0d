//! The expected keys of a `set_up` event, from the kernel: sysfs, the raw info block, procfs.

use std::os::unix::fs::MetadataExt;
use std::{fs, process};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::infoblock::InfoBlock;
use crate::{namespace, page_bytes, sysfs};

/// Keys of an event with the values that they must have.
pub type Facts = Map<String, Value>;

/// `sizeof(struct page)` of every Debian kernel on amd64.
const STRUCT_PAGE: u64 = 64;
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

pub fn of_sysfs(name: &str) -> Result<Facts> {
    let holder = namespace::holder(name)?;
    let driver = sysfs::driver(&holder).with_context(|| format!("{holder} has no driver"))?;
    let (start, size) = (sysfs::number(name, "resource")?, sysfs::number(name, "size")?);
    let (usable_start, usable) = (sysfs::number(&holder, "resource")?, sysfs::number(&holder, "size")?);
    let reservation = usable_start - start;
    let personality = if holder.starts_with("pfn") { "fsdax" } else { "devdax" };
    let map = match sysfs::text(&holder, "mode")?.as_str() {
        "pmem" => "dev",
        "ram" => "mem",
        other => other,
    }
    .to_owned();
    // Without a label there is no such attribute, or an empty one.
    let label = sysfs::text(name, "uuid").unwrap_or_default();
    facts(json!({
        "device": holder, "region": region(&holder)?, "driver": driver,
        "namespace": name, "namespace_uuid": uuid(&label), "start_address": start, "size_bytes": size,
        "personality": personality, "map": map, "align_bytes": sysfs::number(&holder, "align")?,
        "block_uuid": sysfs::text(&holder, "uuid")?,
        "reservation_bytes": reservation, "usable_bytes": usable, "end_trunc_bytes": size - reservation - usable,
    }))
}

/// The facts of the info block on the media, for a block made by the running kernel.
pub fn of_block(block: &InfoBlock) -> Result<Facts> {
    let personality = match block.signature().as_str() {
        "NVDIMM_PFN_INFO" => "fsdax",
        _ => "devdax",
    };
    facts(json!({
        "personality": personality, "map": if block.mode() == 2 { "dev" } else { "mem" },
        "namespace_uuid": uuid(&block.parent_uuid()), "block_uuid": block.uuid(), "align_bytes": block.align(),
        "reservation_bytes": block.start_pad() + block.dataoff(), "dataoff_bytes": block.dataoff(),
        "start_pad_bytes": block.start_pad(), "end_trunc_bytes": block.end_trunc(),
        "npfns": block.npfns(), "usable_bytes": block.npfns() * page_bytes()?,
        "block_page_size_bytes": block.page_size(), "page_struct_size_bytes": block.page_struct_size(),
        "struct_page_size_bytes": STRUCT_PAGE,
        // A good kernel's reservation is the ideal one.
        "ideal_bytes": block.start_pad() + block.dataoff(),
    }))
}

/// A successful set-up, by user space (this thread) or by the kernel itself.
pub fn of_success(made: bool, by: Value) -> Result<Facts> {
    let (block, meaning, evidence) = if made {
        ("made", "info block made, namespace enabled", "observed")
    } else {
        ("existing", "existing info block accepted, namespace enabled", "info_block")
    };
    facts(json!({
        "schema": 1, "event": "set_up", "block": block, "outcome": "enabled", "setup_code": 0, "bind_code": 0,
        "meaning": meaning, "incomplete": false, "by": by,
        "verdict": "ok", "evidence": evidence, "excess_bytes": 0, "unused_bytes": 0,
    }))
}

pub fn this_thread() -> Result<Value> {
    let read = |file: &str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
    let status = read("/proc/self/status")?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid: in /proc/self/status")?;
    let uid: u32 = uids.split_whitespace().next().context("no real uid")?.parse()?;
    let cgroups = read("/proc/self/cgroup")?;
    let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup v2")?.to_owned();
    let folder = format!("/sys/fs/cgroup{cgroup}");
    let inode = fs::metadata(&folder).with_context(|| format!("no {folder}"))?.ino();
    let comm = read("/proc/thread-self/comm")?;
    Ok(json!({
        "pid": process::id(), "uid": uid, "comm": comm.trim_end(), "cgroup_id": inode, "cgroup": cgroup,
    }))
}

/// Compares an event with facts; the error names each key that differs.
pub fn compare(event: &Value, facts: &Facts) -> Result<()> {
    let differ = |(key, value): (&String, &Value)| {
        let found = event.get(key);
        (found != Some(value)).then(|| format!("{key}: {} is right, not {}", value, found.unwrap_or(&Value::Null)))
    };
    let differences: Vec<String> = facts.iter().filter_map(differ).collect();
    ensure!(differences.is_empty(), "{}\nin {event}", differences.join("\n"));
    Ok(())
}

/// Requires that the facts cover all keys of an event but its time, and that the time is plausible.
pub fn nothing_else(event: &Value, facts: &[&Facts]) -> Result<()> {
    let keys = event.as_object().context("an event is an object")?.keys();
    let unknown: Vec<&String> = keys
        // What else could be gained depends on mode and align: the unit tests of the verdicts have that.
        // The guard's decision depends on whether it was armed by then; its prediction was right in any case, see below.
        // The memmap in DRAM is compared with the kernel's counters in `e2e/dram.rs`.
        .filter(|key| {
            let others = ["id", "time", "duration_us", "cause", "class", "detail", "guard", "memmap_dram_bytes"];
            !others.contains(&key.as_str())
        })
        .filter(|key| !facts.iter().any(|facts| facts.contains_key(*key)))
        .collect();
    ensure!(unknown.is_empty(), "the event claims more than is known: {unknown:?} in {event}");
    ensure!(event.pointer("/guard/mismatch") != Some(&Value::Bool(true)), "the guard predicted otherwise: {event}");
    let duration = event.get("duration_us").and_then(Value::as_u64).context("no duration_us")?;
    ensure!((1..60_000_000).contains(&duration), "a set-up of {duration} µs");
    Ok(())
}

fn region(device: &str) -> Result<String> {
    let folder = fs::canonicalize(sysfs::folder(device)).with_context(|| format!("no {device}"))?;
    let parent = folder.parent().and_then(|parent| parent.file_name()).context("a device without a parent")?;
    Ok(parent.to_string_lossy().into_owned())
}

fn uuid(text: &str) -> Value {
    if text.is_empty() || text == NO_UUID { Value::Null } else { json!(text) }
}

fn facts(value: Value) -> Result<Facts> {
    match value {
        Value::Object(facts) => Ok(facts),
        other => anyhow::bail!("no object: {other}"),
    }
}
