//! A loader that does without the kernel's types.
//!
//! aya 0.14 reads all of vmlinux's types whenever a loader is made: 5 MB, which take a tenth of a second to parse under
//! emulation, and an object without relocations needs none of them. aya does without if it cannot open the file. So the loader
//! is made in a thread of its own that opens no file: a seccomp filter is for its thread alone, and all other threads open what
//! they need meanwhile, such as root certificates for the TLS handshake of an alert. aya 0.16 does not read the types by itself.

use std::{io, thread};

use aya::EbpfLoader;
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter, sock_fprog};
use nix::sys::prctl;

/// musl's `open`, on architectures that have the call; glibc uses `openat`.
#[cfg(target_arch = "x86_64")]
const OPEN: c_long = libc::SYS_open;
#[cfg(not(target_arch = "x86_64"))]
const OPEN: c_long = libc::SYS_openat2;

/// A loader for an object without relocations.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    without_files(EbpfLoader::new)
}

/// Runs `work` in a thread that opens no file. If the system does not allow that, the thread opens files, which takes
/// longer.
fn without_files<T: Send>(work: impl Fn() -> T + Send + Sync) -> T {
    let deny_and_work = || {
        if let Err(error) = deny_files() {
            tracing::debug!("the kernel's types are read for nothing: {error}");
        }
        work()
    };
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, deny_and_work).ok()?;
        thread.join().ok()
    });
    done.unwrap_or_else(work)
}

/// From now on this thread, and any that it starts, opens no file.
fn deny_files() -> io::Result<()> {
    // An unprivileged thread may have a filter only if it cannot gain privileges.
    prctl::set_no_new_privs()?;
    let mut filter = [
        // The number of the system call is the first member of `struct seccomp_data`.
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, number(libc::SYS_openat), 2),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, number(OPEN), 1),
        instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, 0),
        instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EACCES.unsigned_abs(), 0),
    ];
    let program = sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the five instructions, which live through the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An instruction of classic BPF; it skips `skip` instructions if it compares equal.
fn instruction(code: u32, operand: u32, skip: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: skip, jf: 0, k: operand }
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::sync::Barrier;

    use super::*;

    const FILE: &str = "/proc/self/status";

    #[test]
    fn while_a_loader_is_made_other_threads_open_files() {
        let both = Barrier::new(2);
        let (inside, outside) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                both.wait();
                let opened = File::open(FILE).map(drop);
                both.wait();
                opened
            });
            let inside = without_files(|| {
                both.wait();
                let opened = File::open(FILE).map(drop);
                both.wait();
                opened
            });
            (inside, other.join().unwrap())
        });
        assert_eq!(inside.unwrap_err().kind(), ErrorKind::PermissionDenied);
        outside.unwrap();
        File::open(FILE).unwrap();
    }

    #[test]
    fn a_loader_has_no_types_and_leaves_nothing_behind() {
        for _ in 0..3 {
            let loader = format!("{:?}", without_types());
            assert!(loader.contains("btf: None"), "{loader}");
        }
        File::open(FILE).unwrap();
    }
}
