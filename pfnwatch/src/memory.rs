//! The agent's own memory: what it takes, and giving back what was needed only for a while.

use crate::control::protocol::MemoryStatus;

/// Hands the heap's free pages back to the system. To be called after something large that does not come again soon: the
/// kernel's types and symbols take 20 MB while they are read, and nothing of that is kept.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes a number, and may be made at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What this process has in memory; none where the kernel does not tell.
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
    fn resident_memory_is_told_apart() {
        let status = "Name:\tpfnwatch\nVmRSS:\t    9000 kB\nRssAnon:\t    3000 kB\nRssFile:\t    6000 kB\nRssShmem:\t       0 kB\n";
        let expected = MemoryStatus { anonymous_bytes: 3000 << 10, file_bytes: 6000 << 10, shared_bytes: 0 };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tpfnwatch\n"), None);
        assert!(resident().is_some_and(|memory| memory.anonymous_bytes > 0));
    }
}
