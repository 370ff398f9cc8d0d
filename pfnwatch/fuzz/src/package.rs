//! Packages and other files for `pfnwatch kernel`.

use std::io::Write as _;
use std::path::Path;

use pfnwatch::image::KernelImages;

use crate::scratch;

/// A file gives kernels, or a reason why it does not.
pub fn check(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new_in(scratch()) else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let found = KernelImages::read([file.path() as &Path]);
    assert!(!found.kernels.is_empty() || !found.failures.is_empty(), "neither a kernel nor a reason");
    let evidence: Vec<_> = found.kernels.values().flat_map(|kernel| kernel.evidence()).collect();
    assert!(evidence.iter().all(|evidence| evidence.max.bytes <= 1 << 16), "{evidence:?}");
}
