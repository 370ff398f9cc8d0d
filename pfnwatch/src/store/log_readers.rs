//! Which processes read the event store, for the message about one that does so for ever.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::event_store::sibling;

/// The bytes of the -shm file on which SQLite's readers of a log have a lock (WAL_READ_LOCK(0) to WAL_READ_LOCK(4), wal.c and
/// os_unix.c of SQLite; <https://www.sqlite.org/walformat.html#wal_locks>).
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The processes that read the store, in words. The file is not opened: closing it would end this process' own locks on it.
pub(super) fn log_readers(store: &Path) -> String {
    let pids = fs::metadata(sibling(store, "-shm")).ok().zip(fs::read_to_string("/proc/locks").ok());
    let pids = pids.map(|(shm, locks)| readers(&locks, shm.dev(), shm.ino())).unwrap_or_default();
    if pids.is_empty() {
        return "a process".to_owned();
    }
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown = |pid: &u32| format!("pid {pid} ({})", name(pid).trim_end().replace(char::is_control, "?"));
    pids.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The process ids out of lines such as `1: POSIX  ADVISORY  READ 4711 08:01:1234 124 124` (proc_locks(5)).
fn readers(locks: &str, device: u64, inode: u64) -> Vec<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", libc::major(device), libc::minor(device));
    let reader = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "POSIX", _, "READ", pid, of, first, _] = fields.as_slice() else { return None };
        let first = first.parse().ok().filter(|first| READ_LOCKS.contains(first));
        pid.parse().ok().filter(|_| *of == file && first.is_some())
    };
    let mut pids: Vec<_> = locks.lines().filter_map(reader).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_have_a_lock_on_a_mark_of_this_file() {
        let locks = "1: POSIX  ADVISORY  READ 4711 08:01:1234 124 124
2: POSIX  ADVISORY  READ 4711 08:01:1234 128 128
2: -> POSIX  ADVISORY  READ 7 08:01:1234 124 124
3: POSIX  ADVISORY  WRITE 8 08:01:1234 120 120
4: POSIX  ADVISORY  READ 9 08:02:1234 124 124
5: FLOCK  ADVISORY  READ 10 08:01:1234 0 EOF
6: POSIX  ADVISORY  READ 12 08:01:1234 127 128
7: POSIX  ADVISORY  READ 11 08:01:1235 124 124
";
        assert_eq!(readers(locks, libc::makedev(8, 1), 1234), [12, 4711]);
    }
}
