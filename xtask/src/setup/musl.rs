//! What static programs are built with: Rust's standard library for musl, GCC, and musl's headers for the parts in C.
//!
//! musl itself is in Rust's library. Of the same version are the headers of Debian 13's musl-dev (1.2.5), which is unpacked and not
//! installed, for every architecture in the same way.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host;
use crate::architecture::Architecture;
use crate::debian::{self, Suite};
use crate::process::Task;
use crate::{paths, toolchain, traces};

const SUITE: &str = "trixie";
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// Installs what is missing.
pub(crate) fn ensure(architecture: Architecture) -> Result<()> {
    let library = toolchain::sysroot()?.join("lib/rustlib").join(architecture.target()).join("lib");
    if !library.is_dir() {
        let arguments = ["target", "add", architecture.target()];
        let task = Task::new("rustup", arguments).dir(&paths::root()).limit(RUSTUP_LIMIT);
        let without =
            || format!("no standard library of Rust for {}, which static programs need", architecture.target());
        task.read().with_context(without)?;
        ensure!(library.is_dir(), "{}: rustup added it to another toolchain", without());
    }
    host::ensure(&[architecture.gcc(), "dpkg-deb", debian::KEYRING])?;
    headers(architecture).map(drop)
}

/// A cargo command that builds static programs for this architecture, beside its option `--target`.
pub(crate) fn for_target(task: Task, architecture: Architecture) -> Result<Task> {
    let of_gcc = Task::new(architecture.gcc(), ["-print-file-name=include"]).read()?;
    let folders = [headers(architecture)?, PathBuf::from(of_gcc.trim())];
    let system = folders.map(|folder| format!("-isystem {}", folder.display())).join(" ");
    let in_names = architecture.target().replace('-', "_");
    // Nothing of the C library that the host's GCC is made for: neither its headers nor, on arm64, its helpers for atomic operations.
    let flags = if architecture == Architecture::Arm64 { " -mno-outline-atomics" } else { "" };
    Ok(task
        .env(&format!("CC_{in_names}"), architecture.gcc())
        .env(&format!("CFLAGS_{in_names}"), format!("-nostdinc {system}{flags} {}", traces::remapped_in_c()?.join(" ")))
        .env(&format!("CARGO_TARGET_{}_LINKER", in_names.to_uppercase()), architecture.gcc()))
}

fn headers(architecture: Architecture) -> Result<PathBuf> {
    let name = format!("musl-dev_{}", architecture.debian_name());
    let mut root = paths::cache().join(&name);
    if !root.is_dir() {
        let (_, deb) = Suite::open_for(SUITE, architecture)?.fetch(|suite| suite.package("musl-dev"))?;
        root = debian::unpacked_as(&name, &[deb])?;
    }
    Ok(root.join("usr/include").join(format!("{}-linux-musl", architecture.name())))
}
