//! Which processes read the event store, for the message about one that does so for ever.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::event_store::sibling;

/// The bytes of the -shm file on which SQLite's readers of a log have a lock (WAL_READ_LOCK(0) to WAL_READ_LOCK(4), wal.c and
/// os_unix.c of SQLite; <https://www.sqlite.org/walformat.html#wal_locks>).
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// So often the kernel's list is read: a line may be missing in one reading, since other locks come and go meanwhile (`locks_next` in
/// fs/locks.c goes by the position).
const READINGS: usize = 8;

/// The processes that read the store, in words. The file is not opened: closing it would end this process' own locks on it.
pub(super) fn log_readers(store: &Path) -> String {
    let pids = fs::metadata(sibling(store, "-shm")).ok().map(|shm| {
        let list = || fs::read_to_string("/proc/locks").unwrap_or_default();
        readers_in_some(list, shm.dev(), shm.ino())
    });
    let pids = pids.unwrap_or_default();
    if pids.is_empty() {
        return "a process".to_owned();
    }
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown = |pid: &u32| format!("pid {pid} ({})", name(pid).trim_end().replace(char::is_control, "?"));
    pids.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The process ids of the first list that has any.
fn readers_in_some(mut list: impl FnMut() -> String, device: u64, inode: u64) -> Vec<u32> {
    let lists = (0..READINGS).map(|_| readers(&list(), device, inode));
    lists.into_iter().find(|pids| !pids.is_empty()).unwrap_or_default()
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

    #[test]
    fn a_reader_that_one_list_lacks_is_in_another() {
        let mut lists = ["", "1: POSIX  ADVISORY  READ 7 08:01:9 124 124\n", ""].into_iter().map(str::to_owned);
        assert_eq!(readers_in_some(|| lists.next().unwrap(), libc::makedev(8, 1), 9), [7]);
        assert!(readers_in_some(String::new, libc::makedev(8, 1), 9).is_empty());
    }
}
