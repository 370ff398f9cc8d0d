//! The group whose members may look at everything and change nothing: the one that the agent runs with, where its service gives it
//! one of its own (`Group=pfnwatch`).

use nix::unistd::{Gid, getegid, geteuid};

/// `None` if the agent is not root, or its group is root's: then nobody else has access.
#[must_use]
pub fn reader_group() -> Option<Gid> {
    let group = getegid();
    (geteuid().is_root() && group.as_raw() != 0).then_some(group)
}
