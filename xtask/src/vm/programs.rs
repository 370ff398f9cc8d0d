//! The programs that go into a guest, and the shared libraries that they need.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{build_ebpf, paths, toolchain};

/// From nothing, beside the agent's build.
const LIMIT: Duration = Duration::from_secs(900);

/// The project's own programs for the guest, as this run built them.
pub(super) struct Built {
    /// PID 1.
    pub(super) init: PathBuf,
    /// The tests.
    pub(super) tests: PathBuf,
    /// The object of the eBPF program that does nothing.
    pub(super) empty: PathBuf,
    /// The agent; None where it has not been built.
    pub(super) agent: Option<PathBuf>,
}

/// Builds PID 1 and the tests, and finds the agent that `cargo xtask build` left.
pub(super) fn build() -> Result<Built> {
    let arguments = ["build", "-p", "pfnwatch-e2e", "--bin", "guest-init", "--test", "e2e", "--profile", "guest"];
    let task = toolchain::cargo_task(arguments.into_iter().chain(["--message-format", "json-render-diagnostics"]));
    let messages = task.limit(LIMIT).read().context("cannot build the e2e tests")?;
    let agent = paths::target().join("release/pfnwatch");
    Ok(Built {
        init: executable(&messages, "guest-init")?,
        tests: executable(&messages, "e2e")?,
        empty: build_ebpf::empty()?,
        agent: agent.is_file().then_some(agent),
    })
}

/// The names of all tests, as libtest has them.
pub(super) fn tests(built: &Built) -> Result<Vec<String>> {
    let listed = Task::new(&built.tests, ["--list", "--format", "terse"]).read()?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The path of a target's executable in cargo's messages.
fn executable(messages: &str, target: &str) -> Result<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut paths = messages.filter_map(|message| {
        let name = message.pointer("/target/name")?.as_str()?;
        let path = message.get("executable")?.as_str()?;
        (name == target).then(|| PathBuf::from(path))
    });
    paths.next().with_context(|| format!("cargo built no {target}"))
}

/// A program of the host, looked for where root's shell would.
pub(crate) fn of_host(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The shared libraries and the loader that these programs need, as paths of the host: the guest has them at the same
/// places.
pub(super) fn libraries<'a>(programs: impl Iterator<Item = &'a Path>) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for program in programs {
        // ldd fails for a static program: that needs nothing.
        let said = Task::new("ldd", [program]).read().unwrap_or_default();
        if let Some(missing) = said.lines().find(|line| line.contains("not found")) {
            anyhow::bail!("{} needs a library that this host does not have: {}", program.display(), missing.trim());
        }
        found.extend(paths_in(&said));
    }
    Ok(found)
}

/// `libc.so.6 => /lib/… (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; the vdso has no file.
fn paths_in(ldd: &str) -> impl Iterator<Item = PathBuf> {
    ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_lines() {
        let said = "\tlinux-vdso.so.1 (0x00007faeaab7c000)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007faeaab7e000)\n\tstatically linked\n";
        let paths: Vec<_> = paths_in(said).collect();
        assert_eq!(paths, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
    }

    #[test]
    fn executable_of_the_right_target() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"guest\"},\"executable\":null}\nrubbish\n\
            {\"target\":{\"name\":\"e2e\"},\"executable\":\"/t/e2e-1\"}\n";
        assert_eq!(executable(messages, "e2e").unwrap(), PathBuf::from("/t/e2e-1"));
        assert!(executable(messages, "guest-init").unwrap_err().to_string().contains("no guest-init"));
    }
}
