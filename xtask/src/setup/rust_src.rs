//! The sources of Rust's core library, from which the eBPF build makes `core` for its target.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fs_err as fs;

use super::host;
use crate::debian::{self, Suite};
use crate::process::Task;
use crate::{paths, toolchain};

/// The suite whose `rust-src` follows Rust's releases.
const SUITE: &str = "trixie-backports";
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

pub(crate) enum RustSource {
    /// In the toolchain, where cargo finds them by itself.
    Toolchain,
    /// In this folder (the one named `library`).
    Unpacked(PathBuf),
}

/// Finds the sources, or gets them: from rustup, else from Debian's package of the same version.
pub(crate) fn ensure() -> Result<RustSource> {
    let sysroot = toolchain::sysroot()?;
    let in_toolchain = || sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file();
    if in_toolchain() {
        return Ok(RustSource::Toolchain);
    }
    let version = toolchain::version()?;
    let library = paths::target().join("rust-src").join(&version).join("library");
    if library.is_dir() {
        return Ok(RustSource::Unpacked(library));
    }
    // A toolchain that did not come from rustup, or a host that cannot reach its server, needs the other way.
    let rustup = Task::new("rustup", ["component", "add", "rust-src"]).dir(&paths::root()).limit(RUSTUP_LIMIT);
    if rustup.read().is_ok() && in_toolchain() {
        return Ok(RustSource::Toolchain);
    }
    eprintln!("rustup cannot add rust-src here: using Debian's package instead");
    from_debian(&version, &library).with_context(|| {
        format!("no sources of Rust {version}'s core library: `rustup component add rust-src` did not work either")
    })?;
    Ok(RustSource::Unpacked(library))
}

fn from_debian(version: &str, library: &Path) -> Result<()> {
    host::ensure(&["dpkg-deb", debian::KEYRING])?;
    let (_, deb) = Suite::open(SUITE)?.fetch(|suite| {
        let packages = suite.packages("rust-src", |name| name == "rust-src")?;
        let held: Vec<String> = packages.iter().map(|package| package.version.clone()).collect();
        let same = packages.into_iter().find(|package| is_release(&package.version, version));
        same.ok_or_else(|| anyhow!("Debian {SUITE} holds rust-src {}, not {version}", held.join(", ")))
    })?;
    let home = library.parent().unwrap_or(library);
    let part = home.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    debian::unpack(&[deb], &part)?;
    let sources = part.join(format!("usr/src/rustc-{version}/library"));
    fs::create_dir_all(home)?;
    fs::rename(&sources, library).with_context(|| format!("{} is not in the package", sources.display()))?;
    Ok(fs::remove_dir_all(&part)?)
}

/// Whether a Debian version is a packaging of this release: `1.95.0+dfsg1-2` is one of `1.95.0`.
fn is_release(debian: &str, release: &str) -> bool {
    debian.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_of_a_debian_version() {
        assert!(is_release("1.95.0+dfsg1-2~bpo13+1", "1.95.0") && is_release("1.95.0-1", "1.95.0"));
        assert!(!is_release("1.95.01-1", "1.95.0") && !is_release("1.96.1+dfsg1-2", "1.95.0"));
    }
}
