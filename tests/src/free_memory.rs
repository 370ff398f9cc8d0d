//! Free memory once nothing moves any more. Pages that were freed wait in lists of the CPUs, 2 MiB pieces as well, and are not in
//! MemFree (mm/page_alloc.c, free_unref_page): both are summed.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::KIB;

const PAGE: u64 = 4 * KIB;
/// The counters are folded once a second.
const FOLDED: Duration = Duration::from_millis(1250);
/// What moves in a guest that does nothing.
const STILL: u64 = 128 * KIB;
const READINGS: usize = 20;

/// Bytes that are free, without the caches. The kernel frees the programs and maps of an agent that has ended for seconds, so this
/// reads until two readings agree. The caches are dropped for each: a dentry that was used stays for one more time, with its inode
/// and the node of sysfs (dentry_lru_isolate in fs/dcache.c), 2.4 MiB after a test that read sysfs.
pub fn stable_bytes() -> Result<u64> {
    let mut last = without_caches()?;
    for _ in 0..READINGS {
        let now = without_caches()?;
        if now.abs_diff(last) <= STILL {
            return Ok(now);
        }
        last = now;
    }
    bail!("{READINGS} readings of free memory differ by more than {STILL} bytes each")
}

fn without_caches() -> Result<u64> {
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
    thread::sleep(FOLDED);
    free()
}

fn free() -> Result<u64> {
    Ok(value("/proc/meminfo", "MemFree:")? * KIB + in_cpu_lists()?)
}

/// Bytes of all pages in the CPUs' lists of all zones.
fn in_cpu_lists() -> Result<u64> {
    let zones = fs::read_to_string("/proc/zoneinfo").context("cannot read /proc/zoneinfo")?;
    let counts = zones.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    let pages: u64 = counts.map(|count| count.trim().parse::<u64>()).sum::<Result<u64, _>>()?;
    Ok(pages * PAGE)
}

/// The number of a line of a file of procfs.
pub fn value(file: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
    let line = line.with_context(|| format!("{file} has no {key}"))?;
    Ok(line.split_whitespace().nth(1).with_context(|| line.to_owned())?.parse()?)
}
