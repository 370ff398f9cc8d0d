//! The package on a Debian under systemd, whose kernel has the regression: installed, stalled, upgraded, rolled back, removed.

use guest::agent::has_text;
use guest::creation::{Map, Mode, NamespaceSpec, PreparedNamespace};
use guest::{GIB, MIB};
use serde_json::Value;

mod contained;
mod installed;
mod logged;
mod members;
mod removed;
mod rpm;
mod stalled;
mod upgraded;
// The last by its name: what it makes has to stay for the next boot.
pub(crate) mod waiting;

/// The configuration under which an oversize creation is refused, also without an agent.
pub(crate) const ENFORCE_AND_HOLD: &str = "[guard]\nmode = \"enforce\"\non_agent_exit = \"hold\"\n";

/// A namespace of 1 GiB for which this kernel reserves 16 MiB too much.
pub(crate) fn oversize(region: &str) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes: GIB, mode: Mode::Fsdax, map: Map::Dev, align_bytes: 2 * MIB }
}

fn is_about(event: &Value, kinds: &[&str], made: &PreparedNamespace) -> bool {
    has_text(event, "namespace_uuid", &made.namespace_uuid) && kinds.iter().any(|kind| has_text(event, "event", kind))
}
