//! Tools out of crates.io, in pinned versions, under the target folder.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{paths, progress, toolchain};

const LIMIT: Duration = Duration::from_secs(1200);

/// A tool that cargo installs.
pub(crate) struct Tool {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// How it is built.
    pub(super) options: &'static [&'static str],
    /// How long that takes, in words.
    pub(super) takes: &'static str,
}

/// Turns LLVM bitcode into an eBPF object. It links through rustc's own LLVM; later versions want an LLVM of the system's.
pub(crate) const BPF_LINKER: Tool =
    Tool { name: "bpf-linker", version: "0.10.3", options: &[], takes: "about 2 minutes on 2 processors" };

/// Makes the Debian package. Without optimisations it is built within half a minute, and leaves what takes long to the system's xz.
pub(crate) const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
    options: &["--debug", "--no-default-features"],
    takes: "about half a minute on 2 processors",
};

impl Tool {
    /// The executable file.
    pub(crate) fn path(&self) -> PathBuf {
        paths::tools().join("bin").join(self.name)
    }

    /// Installs it unless it is there in the right version.
    pub(super) fn ensure(&self) -> Result<()> {
        let Self { name, version, options, takes } = self;
        if self.is_installed() {
            return Ok(());
        }
        let spinner = progress::spinner(&format!("build {name} {version} ({takes})"));
        let package = format!("{name}@{version}");
        let arguments =
            ["install", &package, "--locked", "--quiet", "--force"].into_iter().chain(options.iter().copied());
        let root = ["--root".into(), paths::tools().into_os_string()];
        // RUSTFLAGS meant for the project are not meant for its tools.
        let task = Task::new(toolchain::cargo(), arguments.map(Into::into).chain(root))
            .without_env("RUSTFLAGS")
            .without_env("CARGO_ENCODED_RUSTFLAGS")
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        let outcome = task.limit(LIMIT).read();
        spinner.finish_and_clear();
        outcome
            .map(drop)
            .with_context(|| format!("cannot install {name}; it comes from crates.io, which has to be reachable"))
    }

    /// cargo notes what it installed in a file: reading that is cheaper than running the tool.
    fn is_installed(&self) -> bool {
        let noted = fs::read_to_string(paths::tools().join(".crates.toml")).unwrap_or_default();
        noted.contains(&format!("\"{} {} ", self.name, self.version)) && self.path().is_file()
    }
}
