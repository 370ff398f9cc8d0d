//! The agent's own memory: its size, and the release of memory that was needed only for a while.

use crate::model::status::MemoryStatus;

/// Returns the heap's free pages to the system. Call it after a large allocation that is not repeated soon: the
/// kernel's types and symbols take 20 MB while they are read, and nothing of that is kept.
pub fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes a number, and may be made at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Disables transparent huge pages for this process: in a nearly empty heap khugepaged takes a few pages together with
/// 2 MiB around them (`max_ptes_none`, mm/khugepaged.c) some time later, depending on where the heap is.
pub fn disable_thp() {
    // SAFETY: the call takes numbers, and changes nothing that is there.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// Memory of this process; `None` if the kernel does not report it.
#[must_use]
pub fn resident() -> Option<MemoryStatus> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<MemoryStatus> {
    let bytes = |key: &str| {
        let kibibytes = status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"))?;
        kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(MemoryStatus {
        anonymous_bytes: bytes("RssAnon:")?,
        file_bytes: bytes("RssFile:")?,
        shared_bytes: bytes("RssShmem:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_declined() {
        disable_thp();
        // SAFETY: the call takes numbers, and only asks.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) }, 1);
    }

    #[test]
    fn resident_memory_is_told_apart() {
        let status = "Name:\tpfnwatch\nVmRSS:\t    9000 kB\nRssAnon:\t    3000 kB\nRssFile:\t    6000 kB\nRssShmem:\t       0 kB\n";
        let expected = MemoryStatus { anonymous_bytes: 3000 << 10, file_bytes: 6000 << 10, shared_bytes: 0 };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tpfnwatch\n"), None);
        assert!(resident().is_some_and(|memory| memory.anonymous_bytes > 0));
    }
}
