//! A loader that does without the kernel's types.

use aya::EbpfLoader;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// A loader for an object without relocations.
///
/// aya 0.14 reads all of vmlinux's types whenever a loader is made, 5 MB that it takes a tenth of a second under emulation
/// to parse, and drops them again where none are wanted. It does not where it cannot open the file: for as long as a loader
/// is made, this process opens none. A thread that delivers an alert in that moment tries again later.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    let _no_file_is_opened = NoFiles::now();
    EbpfLoader::new()
}

/// This process opens no file until this is dropped. Where the system does not let us, it takes longer.
struct NoFiles(Option<(rlim_t, rlim_t)>);

impl NoFiles {
    fn now() -> Self {
        let limits = getrlimit(Resource::RLIMIT_NOFILE);
        Self(limits.and_then(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, 0, hard).map(|()| (soft, hard))).ok())
    }
}

impl Drop for NoFiles {
    fn drop(&mut self) {
        let Some((soft, hard)) = self.0 else { return };
        if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard) {
            tracing::error!("no more files can be opened: {error}");
        }
    }
}
