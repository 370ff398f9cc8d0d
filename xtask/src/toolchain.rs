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

/// A cargo command in the workspace's root.
pub(crate) fn cargo_task<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Task {
    Task::new(cargo(), arguments).dir(&paths::root())
}

/// The toolchain's folder. Asking rustc takes 20 to 50 ms, so cargo's own place answers where it can.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let beside_cargo = PathBuf::from(cargo()).parent().and_then(|bin| bin.parent()).map(PathBuf::from);
    match beside_cargo.filter(|dir| dir.join("lib/rustlib").is_dir() && dir.join("bin/rustc").exists()) {
        Some(dir) => Ok(dir),
        None => Ok(Task::new("rustc", ["--print", "sysroot"]).dir(&paths::root()).read()?.trim().into()),
    }
}

/// The triple of this host, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host() -> Result<String> {
    let said = Task::new("rustc", ["-vV"]).dir(&paths::root()).read()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).with_context(|| format!("`rustc -vV` says {said:?}, which names no host"))
}

/// The compiler's version, such as `1.95.0`.
pub(crate) fn version() -> Result<String> {
    let said = Task::new("rustc", ["--version"]).dir(&paths::root()).read()?;
    let version = said.split_whitespace().nth(1);
    version.map(str::to_owned).with_context(|| format!("`rustc --version` says {said:?}, which names no version"))
}
