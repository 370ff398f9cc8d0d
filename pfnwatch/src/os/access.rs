//! The group whose members may look at everything and change nothing: the one that the agent runs with, where its service gives it
//! one of its own (`Group=pfnwatch`).

use nix::unistd::{Gid, getegid, geteuid};

/// That group; none where the agent is not root, or has root's group: nobody else may look then.
#[must_use]
pub fn reader_group() -> Option<Gid> {
    let group = getegid();
    (geteuid().is_root() && group.as_raw() != 0).then_some(group)
}
