//! Whether this host can enforce, and what to report if it cannot.

use crate::guard::Guard;
use crate::kernel::features::{FeatureSources, Features};
use crate::kernel::prerequisites::{NeededFor, judge, unmet};
use crate::os::privileges::with_capabilities;

use super::Options;

/// What this host lacks for enforcing, of what can be found out without a guard: for a host on which libnvdimm is not loaded.
pub(super) fn missing_prerequisites(options: &Options) -> Option<String> {
    let features = || Features::gather(&FeatureSources::new(&options.paths), options.btf_dir.as_deref());
    let rows = judge(&with_capabilities(features));
    let missing: Vec<_> = unmet(&rows, NeededFor::Enforce).map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Why a host cannot enforce, and what to do.
pub(super) fn cannot_enforce(reason: &str) -> String {
    format!("this host cannot enforce: {reason} (`pfnwatch doctor --enforce` reports what is missing)")
}

/// Warns of exemptions of the configuration that are not in force, once the regions are known.
pub(super) fn warn_of_skipped_exemptions(guard: &Guard) {
    if !guard.has_blocks() {
        return;
    }
    for (exemption, reason) in guard.skipped_in_configuration() {
        tracing::warn!("an exemption of the configuration is not in force ({reason}): {exemption}");
    }
}
