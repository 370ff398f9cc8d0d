//! The agent's own memory: what it takes, and giving back what was needed only for a while.

use std::{ffi::c_int, ptr::null_mut, slice};

use libc::{MADV_DONTNEED, PF_W, PT_LOAD, c_void, dl_iterate_phdr, dl_phdr_info, madvise};

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

/// Drops the resident pages of the program's and its libraries' text: the start touched most of them, and what the
/// agent uses from now on comes back page by page from the page cache.
pub fn release_text_pages() {
    let Ok(page_size) = crate::os::sysconf::page_size().and_then(|bytes| Ok(usize::try_from(bytes)?)) else { return };
    // SAFETY: `each` takes what the C library hands to it, and gets the number that `data` points to while this is called.
    unsafe { dl_iterate_phdr(Some(each), (&raw const page_size).cast_mut().cast()) };

    unsafe extern "C" fn each(info: *mut dl_phdr_info, _bytes: usize, data: *mut c_void) -> c_int {
        // SAFETY: the C library describes a file that is loaded; the description and its headers live while this is called.
        let (info, headers, page_size) = unsafe {
            let info = &*info;
            (info, slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()), *data.cast::<usize>())
        };
        for part in headers.iter().filter(|part| part.p_type == PT_LOAD && part.p_flags & PF_W == 0) {
            let address = usize::try_from(info.dlpi_addr.wrapping_add(part.p_vaddr)).unwrap_or(0);
            let into_page = address % page_size;
            let length = usize::try_from(part.p_memsz).unwrap_or(0) + into_page;
            // SAFETY: these are whole pages of a part that is mapped from a file and that nothing was written to, not by
            // the C library either (what it relocates is in a part that may be written to): the same bytes come back.
            unsafe { madvise(null_mut::<c_void>().with_addr(address - into_page), length, MADV_DONTNEED) };
        }
        0
    }
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
    fn the_program_goes_on_without_its_pages() {
        let before = resident().unwrap();
        release_text_pages();
        let after = resident().unwrap();
        assert!(after.file_bytes < before.file_bytes, "{before:?}, {after:?}");
        assert_eq!("what is read and run".to_uppercase(), "WHAT IS READ AND RUN");
    }

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
