//! The programs that go into a guest, and the shared libraries that they need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{build_ebpf, paths, toolchain};

/// From nothing, beside the agent's build.
const LIMIT: Duration = Duration::from_secs(1200);

/// The project's own programs for the guest, as this run built them.
pub(super) struct Built {
    pub(super) init: PathBuf,
    /// The tests, unless there is only something to be shown.
    pub(super) tests: Option<PathBuf>,
    /// The object of the eBPF program that does nothing, which the tests attach.
    pub(super) empty: Option<PathBuf>,
    /// The agent; `None` if it has not been built.
    pub(super) agent: Option<PathBuf>,
}

const INIT: [&str; 7] = ["build", "--profile", "guest", "-p", "pfnwatch-e2e", "--bin", "guest-init"];

/// Builds PID 1 and the tests. The agent is the one that `cargo xtask build --release` left: tests and benchmarks hold it against the budgets.
pub(super) fn build() -> Result<Built> {
    let messages = messages(&["--test", "e2e"], "1")?;
    let agent = paths::target().join("release/pfnwatch");
    Ok(Built {
        init: toolchain::executable(&messages, "bin", "guest-init")?,
        tests: Some(toolchain::executable(&messages, "test", "e2e")?),
        empty: Some(build_ebpf::empty()?),
        agent: agent.is_file().then_some(agent),
    })
}

/// Builds PID 1, and an agent with the same profile: in a third of the time, for what is only shown.
pub(super) fn build_to_show() -> Result<Built> {
    // It is built once: a build in the many small pieces that serve the next one takes longer.
    let messages = messages(&["-p", "pfnwatch", "--bin", "pfnwatch"], "0")?;
    let agent = toolchain::executable(&messages, "bin", "pfnwatch")?;
    let init = toolchain::executable(&messages, "bin", "guest-init")?;
    Ok(Built { init, tests: None, empty: None, agent: Some(agent) })
}

fn messages(more: &[&str], incremental: &str) -> Result<String> {
    let task = toolchain::cargo_task([INIT.as_slice(), more, &toolchain::MESSAGES].concat());
    task.env("CARGO_INCREMENTAL", incremental).limit(LIMIT).read().context("cannot build the guest's programs")
}

/// The names of all tests, as libtest has them.
pub(super) fn tests(built: &Built) -> Result<Vec<String>> {
    let tests = built.tests.as_ref().context("the tests are not built")?;
    let listed = Task::new(tests, ["--list", "--format", "terse"]).read()?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
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
}
