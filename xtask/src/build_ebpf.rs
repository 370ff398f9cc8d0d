//! Builds the eBPF programs, and puts the object where the agent's build takes it from.

mod calls;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Task;
use crate::setup::{BPF_LINKER, RustSource, rust_source};
use crate::{paths, toolchain};

const PACKAGE: &str = "pfnwatch-ebpf";
const TARGET: &str = "bpfel-unknown-none";
/// The profile in Cargo.toml: release, with the debug information that BTF is made of.
const PROFILE: &str = "bpf";
const LIMIT: Duration = Duration::from_secs(600);
const AGENT_LIMIT: Duration = Duration::from_secs(1200);

/// The program of [`PACKAGE`] that does nothing.
const EMPTY: &str = "empty";

/// The object that the agent embeds.
pub(crate) fn object() -> PathBuf {
    paths::target().join("bpf").join(PACKAGE)
}

/// Builds the object.
pub(crate) fn run() -> Result<()> {
    let built = build(PACKAGE)?;
    calls::refuse(&built)?;
    replace(&built, &object())
}

/// Builds the program that does nothing, and returns its object: the measure of what a program on a hook costs at least.
pub(crate) fn empty() -> Result<PathBuf> {
    build(EMPTY)
}

/// Builds one of the objects, and returns where it is.
fn build(object: &str) -> Result<PathBuf> {
    cargo_for_bpf("build", &["--package", PACKAGE, "--bin", object], &[])?.limit(LIMIT).show()?;
    Ok(paths::bpf_build().join(TARGET).join(PROFILE).join(object))
}

/// Builds the agent, with the object inside.
pub(crate) fn agent(release: bool) -> Result<()> {
    let arguments = ["build", "--package", "pfnwatch"].into_iter().chain(release.then_some("--release"));
    toolchain::cargo_task(arguments).limit(AGENT_LIMIT).show()
}

/// A cargo command for the eBPF target, with `core` built from source by the stable compiler.
pub(crate) fn cargo_for_bpf(command: &str, packages: &[&str], after: &[&str]) -> Result<Task> {
    let common = ["--target", TARGET, "--profile", PROFILE, "-Z", "build-std=core"];
    let arguments = [command].into_iter().chain(packages.iter().chain(&common).chain(after).copied());
    // RUSTFLAGS would win over flags for the target alone: the whole set is given in the form that wins over it.
    let flags = ["-Clink-arg=--btf".to_owned(), format!("--cfg=bpf_target_arch=\"{ARCH}\"")].join("\u{1f}");
    let task = toolchain::cargo_task(arguments)
        .env("CARGO_TARGET_DIR", paths::bpf_build())
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", BPF_LINKER.path())
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(match rust_source()? {
        RustSource::Toolchain => task,
        // cargo's own tests point it at sources outside the toolchain in this way.
        RustSource::Unpacked(library) => task.env("__CARGO_TESTS_ONLY_SRC_ROOT", library),
    })
}

/// Copies a file unless its content is there already: a new time stamp would rebuild the agent for nothing.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let part = to.with_extension("part");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::write(&part, &content)?;
        fs::rename(&part, to)
    };
    write().with_context(|| format!("cannot write {}", to.display()))
}
