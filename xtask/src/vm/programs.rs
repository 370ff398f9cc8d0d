//! The programs that go into a guest, and the shared libraries that they need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::architecture::Architecture;
use crate::process::Task;
use crate::{build_ebpf, paths, setup, toolchain};

/// From nothing, beside the agent's build.
const LIMIT: Duration = Duration::from_secs(1200);

pub(super) struct Built {
    pub(super) init: PathBuf,
    /// The tests, unless there is only something to be shown.
    pub(super) tests: Option<PathBuf>,
    /// The object of the eBPF program that does nothing, which the tests attach.
    pub(super) empty: Option<PathBuf>,
    pub(super) agent: PathBuf,
    pub(super) architecture: Architecture,
}

const INIT: [&str; 7] = ["build", "--profile", "guest", "-p", "pfnwatch-e2e", "--bin", "guest-init"];

/// Builds PID 1 and the tests. The agent is the one that `cargo xtask build --release` left: tests and benchmarks hold it against the budgets.
pub(super) fn build() -> Result<Built> {
    let messages = messages(&["--test", "e2e"], "1")?;
    Ok(Built {
        init: toolchain::executable(&messages, "bin", "guest-init")?,
        tests: Some(toolchain::executable(&messages, "test", "e2e")?),
        empty: Some(build_ebpf::empty(Architecture::HOST)?),
        agent: paths::agent(),
        architecture: Architecture::HOST,
    })
}

/// The same for another architecture, as static programs.
pub(super) fn cross_build(architecture: Architecture) -> Result<Built> {
    let words = [INIT.as_slice(), &["--test", "e2e", "--target", architecture.target()], &toolchain::MESSAGES].concat();
    let task = setup::for_target(toolchain::cargo_task(words), architecture)?.limit(LIMIT);
    let messages =
        task.read().with_context(|| format!("cannot build the guest's programs for {}", architecture.name()))?;
    Ok(Built {
        init: toolchain::executable(&messages, "bin", "guest-init")?,
        tests: Some(toolchain::executable(&messages, "test", "e2e")?),
        empty: None,
        agent: paths::release(architecture).join("pfnwatch"),
        architecture,
    })
}

/// Builds PID 1, and an agent with the same profile: in a third of the time, for what is only shown.
pub(super) fn build_to_show() -> Result<Built> {
    // It is built once: a build in the many small pieces that serve the next one takes longer.
    let messages = messages(&["-p", "pfnwatch", "--bin", "pfnwatch"], "0")?;
    let agent = toolchain::executable(&messages, "bin", "pfnwatch")?;
    let init = toolchain::executable(&messages, "bin", "guest-init")?;
    Ok(Built { init, tests: None, empty: None, agent, architecture: Architecture::HOST })
}

fn messages(more: &[&str], incremental: &str) -> Result<String> {
    let task = toolchain::cargo_task([INIT.as_slice(), more, &toolchain::MESSAGES].concat());
    task.env("CARGO_INCREMENTAL", incremental).limit(LIMIT).read().context("cannot build the guest's programs")
}

pub(super) fn tests(built: &Built) -> Result<Vec<String>> {
    let tests = built.tests.as_ref().context("the tests are not built")?;
    let listed = Task::new(tests, ["--list", "--format", "terse"]).read()?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Lists the files of `ldd`. It fails for a static program, which needs nothing; the vdso has no file.
const LIBRARIES: &str = r#"# list the libraries of programs
found=$(ldd "$@" 2>/dev/null)
if echo "$found" | grep 'not found' >&2; then exit 1; fi
echo "$found" | sed -n 's,^\t[^/]*\(/[^ ]*\) (.*,\1,p' | sort -u
"#;

/// The shared libraries and the loader that these programs need, as paths of the host: the guest has them at the same
/// places.
pub(super) fn libraries<'a>(programs: impl Iterator<Item = &'a Path>) -> Result<BTreeSet<PathBuf>> {
    let found =
        Task::script(LIBRARIES, programs).read().context("this host does not have a library that a guest needs")?;
    Ok(found.lines().map(PathBuf::from).collect())
}
