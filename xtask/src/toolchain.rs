//! The Rust toolchain that runs xtask: its cargo, its folder, its version.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::paths;
use crate::process::Task;

pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or_else(|| "cargo".into())
}

/// A cargo command in the workspace's root, like a typed one. The cargo that runs xtask sets variables about the package of xtask:
/// a build script that reads them (ring's does) would see a change, and half of the agent would be compiled again
/// whenever `cargo xtask` and plain cargo take turns.
pub(crate) fn cargo_task<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Task {
    let task = Task::new(cargo(), arguments).dir(&paths::root());
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let of_xtask = names.filter(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start)));
    of_xtask.fold(task, |task, name| task.without_env(&name))
}

/// A cargo command for all packages of the host, also if it needs only some: cargo compiles a dependency again for another choice
/// of packages, if that choice needs fewer of its features.
pub(crate) fn workspace_task(command: &str, arguments: &[&str]) -> Task {
    let packages = [command, "--workspace", "--exclude", "pfnwatch-ebpf"];
    cargo_task(packages.into_iter().chain(arguments.iter().copied()))
}

/// A program of pfnwatch's integration tests with real peers, as a command.
///
/// `cargo xtask test` builds them all ahead, with the unit tests: cargo would wait here until the fuzz targets are compiled.
pub(crate) fn test_program(name: &str, arguments: &[&str]) -> Result<Task> {
    build_test_programs()?;
    let program = executable(BUILT.get().map_or("", String::as_str), "test", name)?;
    Ok(Task::new(program, arguments).dir(&paths::root().join("pfnwatch")))
}

static BUILT: OnceLock<String> = OnceLock::new();

pub(crate) fn build_test_programs() -> Result<()> {
    if BUILT.get().is_none() {
        let tests = ["--no-run", "--test", "web", "--test", "alertmanager", "--test", "fleet"];
        let task = workspace_task("test", &[tests.as_slice(), &MESSAGES].concat());
        let _ = BUILT.set(task.limit(Duration::from_secs(1200)).read()?);
    }
    Ok(())
}

/// The options with which cargo reports its artifacts in JSON.
pub(crate) const MESSAGES: [&str; 2] = ["--message-format", "json-render-diagnostics"];

/// The path of a target's executable in cargo's messages; the target's kind is `bin`, `test` or `example`.
pub(crate) fn executable(messages: &str, kind: &str, target: &str) -> Result<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = messages.filter_map(|message| {
        let is_it = message.pointer("/target/name")? == target && message.pointer("/target/kind/0")? == kind;
        is_it.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
    });
    paths.next().with_context(|| format!("cargo built no {kind} {target}"))
}

/// The toolchain's folder. Asking rustc takes 20 to 50 ms, so cargo's own place answers where it can.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let beside_cargo = PathBuf::from(cargo()).parent().and_then(|bin| bin.parent()).map(PathBuf::from);
    match beside_cargo.filter(|dir| dir.join("lib/rustlib").is_dir() && dir.join("bin/rustc").exists()) {
        Some(dir) => Ok(dir),
        None => Ok(Task::new("rustc", ["--print", "sysroot"]).dir(&paths::root()).read()?.trim().into()),
    }
}

pub(crate) fn version() -> Result<String> {
    let said = Task::new("rustc", ["--version"]).dir(&paths::root()).read()?;
    let version = said.split_whitespace().nth(1);
    version.map(str::to_owned).with_context(|| format!("`rustc --version` prints {said:?}, which names no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_of_the_right_target() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"guest\"},\"executable\":null}\nrubbish\n\
            {\"target\":{\"name\":\"e2e\",\"kind\":[\"bin\"]},\"executable\":\"/t/other\"}\n\
            {\"target\":{\"name\":\"e2e\",\"kind\":[\"test\"]},\"executable\":\"/t/e2e-1\"}\n";
        assert_eq!(executable(messages, "test", "e2e").unwrap(), PathBuf::from("/t/e2e-1"));
        assert!(executable(messages, "bin", "guest-init").unwrap_err().to_string().contains("no bin guest-init"));
    }
}
