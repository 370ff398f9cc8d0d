//! The sources of Rust's core library, from which the eBPF build makes `core` for its target.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::debian::{self, Suite};
use crate::process::Task;
use crate::{paths, progress, toolchain};

/// The suite whose `rust-src` follows Rust's releases.
const SUITE: &str = "trixie-backports";
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Where the sources are.
#[derive(Debug, PartialEq)]
pub(crate) enum RustSource {
    /// In the toolchain, where cargo finds them by itself.
    Toolchain,
    /// In this folder (the one named `library`), which cargo has to be told.
    Unpacked(PathBuf),
}

/// Finds the sources, or gets them: from rustup, else from Debian's package of the same version.
pub(crate) fn ensure() -> Result<RustSource> {
    let sysroot = toolchain::sysroot()?;
    if in_toolchain(&sysroot) {
        return Ok(RustSource::Toolchain);
    }
    let version = toolchain::version()?;
    let library = paths::target().join("rust-src").join(&version).join("library");
    if library.is_dir() {
        return Ok(RustSource::Unpacked(library));
    }
    if added_by_rustup(&sysroot) {
        return Ok(RustSource::Toolchain);
    }
    from_debian(&version, &library).with_context(|| {
        format!("no sources of Rust {version}'s core library: `rustup component add rust-src` did not work either")
    })?;
    Ok(RustSource::Unpacked(library))
}

fn in_toolchain(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
}

/// A toolchain that did not come by rustup, or a host that cannot reach its server, has the other way.
fn added_by_rustup(sysroot: &Path) -> bool {
    let spinner = progress::spinner("rustup component add rust-src");
    let task = Task::new("rustup", ["component", "add", "rust-src"]).dir(&paths::root()).limit(RUSTUP_LIMIT);
    let outcome = task.read();
    spinner.finish_and_clear();
    if outcome.is_err() {
        progress::note("rustup cannot add rust-src here: taking Debian's package instead");
    }
    outcome.is_ok() && in_toolchain(sysroot)
}

fn from_debian(version: &str, library: &Path) -> Result<()> {
    let suite = Suite::open(SUITE)?;
    let (package, deb) = suite.fetch(|suite| {
        let packages = suite.packages("rust-src", |name| name == "rust-src")?;
        let held: Vec<String> = packages.iter().map(|package| package.version.clone()).collect();
        let same = packages.into_iter().find(|package| is_release(&package.version, version));
        same.ok_or_else(|| anyhow!("Debian {SUITE} holds rust-src {}, not {version}", held.join(", ")))
    })?;
    let spinner = progress::spinner(&format!("unpack rust-src {}", package.version));
    let into = library.parent().unwrap_or(library).with_extension("part");
    let _ = fs::remove_dir_all(&into);
    debian::unpack(&deb, &into)?;
    let sources = into.join(format!("usr/src/rustc-{version}/library"));
    let parent = library.parent().unwrap_or(library);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    fs::rename(&sources, library).with_context(|| format!("{} is not in the package", sources.display()))?;
    fs::remove_dir_all(&into).with_context(|| format!("cannot remove {}", into.display()))?;
    spinner.finish_and_clear();
    Ok(())
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
