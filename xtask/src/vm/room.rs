//! How many guests there is room for. One under emulation keeps some three quarters of a processor busy, however many it has: a test
//! waits more than it computes. So one more runs at a time than there are processors, where there is memory for it.

use std::fs;
use std::num::NonZero;
use std::thread;

/// What a guest takes of memory: its own, and its NVDIMMs as far as they are written.
const GUEST_BYTES: u64 = 4 << 30;
/// More have never been tried.
const MAX_GUESTS: usize = 4;

/// How many guests this host can run at a time.
pub(super) fn guests_at_once() -> usize {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text)).unwrap_or(0);
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let fitting = usize::try_from(available / GUEST_BYTES).unwrap_or(MAX_GUESTS);
    processors.saturating_add(1).min(fitting).clamp(1, MAX_GUESTS)
}

/// `MemAvailable:   22954840 kB`
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_is_memory_for() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   22954840 kB\nBuffers:  1 kB\n";
        assert_eq!(available_bytes(text), Some(22_954_840 * 1024));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
        assert!((1..=MAX_GUESTS).contains(&guests_at_once()));
    }
}
