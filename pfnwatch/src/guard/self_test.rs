//! A test that the guard's program runs: its hook is triggered by something of our own that touches no libnvdimm device.
//!
//! Without `bpf` in the kernel's list of security modules a program attaches without an error, and never runs.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::bpf::program_stats;
use crate::sysfs::cgroup;

/// The guard's program ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// When.
    pub at: SystemTime,
    /// On what, in words.
    pub how: String,
}

/// Makes a cgroup of our own and removes it: each has dozens of nodes. Where that is not allowed, a network namespace,
/// whose loopback device has a directory in sysfs.
///
/// `at`: the time now.
///
/// # Errors
/// The guard did not run, or it could not be tried: the message is for people.
pub fn self_test(
    at: SystemTime,
    run_count: impl Fn() -> anyhow::Result<u64>,
    sysfs: &Path,
) -> anyhow::Result<SelfTest> {
    let _counting = program_stats::enable()?;
    let before = run_count()?;
    let how = make_a_cgroup(sysfs).or_else(|cgroup| {
        make_a_network_namespace().with_context(|| format!("the hook cannot be made to run: {cgroup:#}, and"))
    })?;
    let runs = run_count()?.saturating_sub(before);
    anyhow::ensure!(
        runs > 0,
        "the program is attached and did not run when {how}: `bpf` is not in the kernel's list of security modules \
         (lsm= on its command line), or the program was detached"
    );
    Ok(SelfTest { at, how })
}

/// In the agent's own cgroup.
fn make_a_cgroup(sysfs: &Path) -> anyhow::Result<String> {
    let own = fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup cannot be read")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("this process is in no cgroup v2")?;
    let root = cgroup::root(sysfs).context("cgroup v2 is not mounted")?;
    let folder = root.join(own).join(format!("pfnwatch-proof-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    fs::remove_dir(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    Ok("a cgroup was made".to_owned())
}

/// In a thread of its own, which ends at once, and the namespace with it.
fn make_a_network_namespace() -> anyhow::Result<String> {
    let unshare = || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    let made = std::thread::Builder::new().spawn(unshare).context("no thread can be had")?;
    made.join().map_err(|_| anyhow::anyhow!("the thread ended badly"))?.context("no network namespace can be made")?;
    Ok("a network namespace was made".to_owned())
}
