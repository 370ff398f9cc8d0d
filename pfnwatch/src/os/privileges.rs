//! The agent's privileges: all while it attaches, almost none while it observes.
//!
//! Capabilities that are never needed again are dropped for good. Those that another attachment needs (libnvdimm may be
//! loaded again) stay permitted, and are only raised while they are used, by [`with_capabilities`]. Capabilities belong
//! to a thread: the agent has one while it observes.

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// Capabilities that the agent always has: up to Linux 5.18 the kernel requires CAP_BPF for each map lookup.
const IDLE_CAPABILITIES: [Capability; 1] = [Capability::CAP_BPF];

const ON_DEMAND_CAPABILITIES: [Capability; 5] = [
    // Programs that read the kernel's memory, and probes.
    Capability::CAP_PERFMON,
    // The kernel's counting of runs (BPF_ENABLE_STATS), and a network namespace, by which the guard proves that it fires.
    Capability::CAP_SYS_ADMIN,
    // Addresses in /sys/module/libnvdimm/sections and /proc/kallsyms.
    Capability::CAP_SYSLOG,
    // /proc/kcore.
    Capability::CAP_SYS_RAWIO,
    // The path of a cgroup by its id (open_by_handle_at).
    Capability::CAP_DAC_READ_SEARCH,
];

/// Drops what is never needed again, and lowers what is not needed now.
///
/// # Errors
/// The kernel does not drop a capability: the agent then goes on with more than it needs.
pub fn drop_privileges() -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("the permitted capabilities cannot be read")?;
    let kept: CapsHashSet =
        IDLE_CAPABILITIES.into_iter().chain(ON_DEMAND_CAPABILITIES).filter(|it| permitted.contains(it)).collect();
    // While CAP_SETPCAP is there, which this takes. Without it the set stays; new programs get nothing of it all the same.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability).context("the bounding set cannot be cut")?;
        }
    }
    prctl::set_no_new_privs().context("no_new_privs cannot be set")?;
    caps::clear(None, CapSet::Ambient).context("the ambient capabilities cannot be given up")?;
    caps::clear(None, CapSet::Inheritable).context("the inheritable capabilities cannot be given up")?;
    let at_rest = IDLE_CAPABILITIES.into_iter().filter(|it| kept.contains(it)).collect();
    caps::set(None, CapSet::Effective, &at_rest).context("capabilities cannot be dropped")?;
    caps::set(None, CapSet::Permitted, &kept).context("capabilities cannot be given up")
}

/// Drops all capabilities, for a thread that only handles remote peers.
pub fn drop_all() {
    for set in [CapSet::Effective, CapSet::Permitted] {
        if let Err(error) = caps::clear(None, set) {
            tracing::warn!("a thread keeps more privileges than it needs: {error}");
        }
    }
}

/// Runs `work` with all permitted capabilities, and lowers them afterwards, also after a panic.
pub fn with_capabilities<T>(work: impl FnOnce() -> T) -> T {
    let _laid_down_at_the_end = RaisedCapabilities::raise();
    work()
}

/// Raised capabilities, which are lowered on drop.
struct RaisedCapabilities(Option<CapsHashSet>);

impl RaisedCapabilities {
    fn raise() -> Self {
        let sets = || Ok((caps::read(None, CapSet::Effective)?, caps::read(None, CapSet::Permitted)?));
        let before = sets().and_then(|(before, permitted): (CapsHashSet, CapsHashSet)| {
            caps::set(None, CapSet::Effective, &permitted)?;
            Ok(before)
        });
        // What needs more then fails with its own error.
        Self(before.inspect_err(|error: &caps::errors::CapsError| tracing::warn!("capabilities: {error}")).ok())
    }
}

impl Drop for RaisedCapabilities {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        if let Err(error) = caps::set(None, CapSet::Effective, before) {
            tracing::error!("capabilities cannot be dropped: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn effective() -> CapsHashSet {
        caps::read(None, CapSet::Effective).unwrap()
    }

    fn alone(test: impl FnOnce() + Send + 'static) {
        thread::spawn(test).join().unwrap();
    }

    #[test]
    fn nothing_but_what_is_needed_is_left_and_that_only_for_a_while() {
        alone(|| {
            let all = caps::read(None, CapSet::Permitted).unwrap();
            drop_privileges().unwrap();
            let (resting, kept) = (effective(), caps::read(None, CapSet::Permitted).unwrap());
            assert!(resting.iter().all(|it| IDLE_CAPABILITIES.contains(it)), "{resting:?}");
            assert!(
                kept.iter().all(|it| IDLE_CAPABILITIES.contains(it) || ON_DEMAND_CAPABILITIES.contains(it)),
                "{kept:?}"
            );
            assert!(kept.is_subset(&all) && prctl::get_no_new_privs().unwrap());
            assert!(caps::read(None, CapSet::Inheritable).unwrap().is_empty());
            with_capabilities(|| {
                assert_eq!(effective(), kept);
                with_capabilities(|| assert_eq!(effective(), kept));
                assert_eq!(effective(), kept, "an inner scope does not drop what an outer scope has raised");
            });
            assert_eq!(effective(), resting);
        });
    }

    /// The unit's bounding set is exactly what the agent asks for.
    #[test]
    fn the_unit_bounds_what_is_used() {
        let unit = include_str!("../../dist/systemd/pfnwatch.service");
        let bounds = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let used: Vec<_> =
            IDLE_CAPABILITIES.into_iter().chain(ON_DEMAND_CAPABILITIES).map(|it| it.to_string()).collect();
        assert_eq!(bounds.split(' ').collect::<Vec<_>>(), used);
    }

    #[test]
    fn a_thread_can_give_all_up() {
        alone(|| {
            drop_all();
            assert!(effective().is_empty() && with_capabilities(effective).is_empty());
        });
    }

    #[test]
    fn before_anything_is_laid_down_all_stays_as_it_is() {
        alone(|| {
            let before = effective();
            assert_eq!(with_capabilities(effective), before);
            assert_eq!(effective(), before);
        });
    }
}
