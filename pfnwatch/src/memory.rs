//! Giving memory back that was needed only for a while.

/// Hands the heap's free pages back to the system. To be called after something large that does not come again soon: the
/// kernel's types and symbols take 20 MB while they are read, and nothing of that is kept.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes a number, and may be made at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
