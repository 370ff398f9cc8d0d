//! bpf-linker, which turns LLVM bitcode into an eBPF object, under the target folder.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{paths, progress, toolchain};

/// It links through rustc's own LLVM; later versions want an LLVM of the system's.
const VERSION: &str = "0.10.3";
const LIMIT: Duration = Duration::from_secs(1200);

/// The linker's executable file.
pub(crate) fn path() -> PathBuf {
    paths::tools().join("bin/bpf-linker")
}

/// Installs it unless it is there in the right version.
pub(super) fn ensure() -> Result<()> {
    if installed() {
        return Ok(());
    }
    let spinner = progress::spinner(&format!("build bpf-linker {VERSION} (about 2 minutes on 2 processors)"));
    let package = format!("bpf-linker@{VERSION}");
    let root = paths::tools();
    let arguments = ["install", &package, "--locked", "--quiet", "--force", "--root"].map(Into::into);
    // RUSTFLAGS meant for the project are not meant for its tools.
    let task = Task::new(toolchain::cargo(), arguments.into_iter().chain([root.into_os_string()]));
    let outcome = task.without_env("RUSTFLAGS").without_env("CARGO_ENCODED_RUSTFLAGS").limit(LIMIT).read();
    spinner.finish_and_clear();
    outcome.map(drop).context("cannot install bpf-linker; it comes from crates.io, which has to be reachable")
}

/// cargo notes what it installed in a file: reading that is cheaper than running the tool.
fn installed() -> bool {
    let noted = fs::read_to_string(paths::tools().join(".crates.toml")).unwrap_or_default();
    noted.contains(&format!("\"bpf-linker {VERSION} ")) && path().is_file()
}
