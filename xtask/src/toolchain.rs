//! The Rust toolchain that runs xtask: its cargo, its folder, its version.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::paths;
use crate::process::Task;

/// The cargo that runs xtask.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or_else(|| "cargo".into())
}

/// A cargo command in the workspace's root, like one that was typed. The cargo that runs xtask tells it which package it is of:
/// a build script that asks for that (ring's does) would find it changed, and half of the agent would be compiled anew
/// whenever `cargo xtask` and plain cargo take turns.
pub(crate) fn cargo_task<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Task {
    let task = Task::new(cargo(), arguments).dir(&paths::root());
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let of_xtask = names.filter(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start)));
    of_xtask.fold(task, |task, name| task.without_env(&name))
}

/// A cargo command for all packages of the host, whatever of them it is about: cargo compiles a dependency anew for another choice
/// of packages, where that choice asks for fewer of its features.
pub(crate) fn workspace_task(command: &str, arguments: &[&str]) -> Task {
    let packages = [command, "--workspace", "--exclude", "pfnwatch-ebpf"];
    cargo_task(packages.into_iter().chain(arguments.iter().copied()))
}

/// The toolchain's folder. Asking rustc takes 20 to 50 ms, so cargo's own place answers where it can.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let beside_cargo = PathBuf::from(cargo()).parent().and_then(|bin| bin.parent()).map(PathBuf::from);
    match beside_cargo.filter(|dir| dir.join("lib/rustlib").is_dir() && dir.join("bin/rustc").exists()) {
        Some(dir) => Ok(dir),
        None => Ok(Task::new("rustc", ["--print", "sysroot"]).dir(&paths::root()).read()?.trim().into()),
    }
}

/// The compiler's version, such as `1.95.0`.
pub(crate) fn version() -> Result<String> {
    let said = Task::new("rustc", ["--version"]).dir(&paths::root()).read()?;
    let version = said.split_whitespace().nth(1);
    version.map(str::to_owned).with_context(|| format!("`rustc --version` says {said:?}, which names no version"))
}
