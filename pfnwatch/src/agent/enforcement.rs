//! Whether this host can enforce, and what to report if it cannot.

use crate::{
    guard::Guard,
    kernel::{
        features::{FeatureSources, Features},
        prerequisites::{NeededFor, judge, unmet},
    },
    model::{exit::ExitContext, policy::Mode},
    os::privileges::with_capabilities,
};

use super::Options;

/// What this host lacks for enforcing, of what can be found out without a guard: for a host on which libnvdimm is not loaded.
pub(super) fn missing_prerequisites(options: &Options) -> Option<String> {
    let features = || Features::gather(&FeatureSources::new(&options.paths), options.btf_dir.as_deref());
    let rows = judge(&with_capabilities(features));
    let missing: Vec<_> = unmet(&rows, NeededFor::Enforce).map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Fails if the mode is enforce and the guard is not effective: at the start that is not replaced by an audit.
pub(super) fn require_effective(guard: &Guard) -> anyhow::Result<()> {
    match guard.ineffective_reason() {
        Some(reason) if guard.policy().mode == Mode::Enforce => {
            Err(ExitContext::unsupported(cannot_enforce(&reason)).into())
        }
        _ => Ok(()),
    }
}

/// Why a host cannot enforce, and what to do.
pub(super) fn cannot_enforce(reason: &str) -> String {
    format!("this host cannot enforce: {reason} (`pfnwatch doctor --enforce` says what is missing)")
}

/// Warns of exemptions of the configuration that are not in force, once the regions are known.
pub(super) fn warn_of_skipped_exemptions(guard: &Guard) {
    if !guard.is_armed() {
        return;
    }
    for (exemption, reason) in guard.skipped_in_configuration() {
        tracing::warn!("an exemption of the configuration is not in force ({reason}): {exemption}");
    }
}
