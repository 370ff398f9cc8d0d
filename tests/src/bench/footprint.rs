//! What a process takes, as the kernel accounts for it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Resident {
    pub anon_bytes: u64,
    /// Mapped files: the program itself, and its libraries, if they are on a disk.
    pub file_bytes: u64,
    /// Mapped memory files: those in the guest's root file system, which is in memory.
    pub shmem_bytes: u64,
}

/// eBPF memory that a process holds, in bytes, as the kernel charges for it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct InKernel {
    pub map_bytes: u64,
    pub program_bytes: u64,
}

pub fn resident(pid: Pid) -> Result<Resident> {
    let status = status(pid)?;
    let bytes = |key: &str| -> Result<u64> {
        let kib = number(&status, key).with_context(|| format!("no {key} in {status}"))?;
        Ok(kib * 1024)
    };
    Ok(Resident { anon_bytes: bytes("RssAnon")?, file_bytes: bytes("RssFile")?, shmem_bytes: bytes("RssShmem")? })
}

pub fn processor_time(pid: Pid) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut nanoseconds = 0;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let file = entry?.path().join("schedstat");
        // A thread may end meanwhile.
        let text = fs::read_to_string(&file).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// How many programs a process has attached by type: links that it holds.
pub fn tracing_links(pid: Pid) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = infos.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
    texts.filter(|text| text.lines().any(|line| line == "link_type:\ttracing")).count()
}

/// The number of voluntary context switches: each time, something had to wake it.
pub fn waits(pid: Pid) -> Result<u64> {
    let status = status(pid)?;
    number(&status, "voluntary_ctxt_switches").with_context(|| format!("no waits in {status}"))
}

/// The maps and programs that a process has open, each counted once.
pub fn in_kernel(pid: Pid) -> Result<InKernel> {
    let folder = format!("/proc/{pid}/fdinfo");
    let (mut maps, mut programs) = (BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let info = fs::read_to_string(entry?.path()).unwrap_or_default();
        let Some(bytes) = number(&info, "memlock") else { continue };
        match (number(&info, "map_id"), number(&info, "prog_id")) {
            (Some(id), _) => maps.insert(id, bytes),
            (None, Some(id)) => programs.insert(id, bytes),
            (None, None) => continue,
        };
    }
    Ok(InKernel { map_bytes: maps.values().sum(), program_bytes: programs.values().sum() })
}

fn status(pid: Pid) -> Result<String> {
    let file = format!("/proc/{pid}/status");
    fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))
}

/// `key:  4 kB` or `key:  4`
fn number(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_proc() {
        let text =
            "RssAnon:\t    1068 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\nmemlock:\t4096\n";
        assert_eq!(number(text, "RssAnon"), Some(1068));
        assert_eq!(number(text, "voluntary_ctxt_switches"), Some(5));
        assert_eq!(number(text, "memlock"), Some(4096));
        assert_eq!(number(text, "mem"), None);
    }
}
