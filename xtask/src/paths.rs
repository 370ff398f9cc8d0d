//! Where things lie: the source tree, and the places under the target folder that xtask keeps.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err::{self as fs, File};

use crate::architecture::Architecture;

pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The target folder: `CARGO_TARGET_DIR` (relative to the current folder, as cargo reads it), else `target`.
pub(crate) fn target() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    match (chosen, env::current_dir()) {
        (Some(dir), Ok(here)) => here.join(dir),
        (Some(dir), Err(_)) => PathBuf::from(dir),
        (None, _) => root().join("target"),
    }
}

/// Root of `cargo install` for the tools that the build needs.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// One private apt folder a suite.
pub(crate) fn apt() -> PathBuf {
    target().join("apt")
}

pub(crate) fn cache() -> PathBuf {
    target().join("cache")
}

/// The agent that `cargo xtask build --release` makes, for the host.
pub(crate) fn agent() -> PathBuf {
    release(Architecture::HOST).join("pfnwatch")
}

/// cargo's folder for the static programs of an architecture.
pub(crate) fn release(architecture: Architecture) -> PathBuf {
    target().join(architecture.target()).join("release")
}

/// cargo's target folders for the eBPF target, one for each architecture whose registers the programs read: their own, so that they do
/// not wait for the host's lock.
pub(crate) fn bpf_build(architecture: Architecture) -> PathBuf {
    target().join("bpf-build").join(architecture.name())
}

/// What is given away: the package and its checksums.
pub(crate) fn dist() -> PathBuf {
    target().join("dist")
}

/// Keeps a second xtask off a folder's files until it is dropped; it waits.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join("lock")).with_context(|| format!("no lock in {}", folder.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    Ok(file)
}
