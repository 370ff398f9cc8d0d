//! Learns from the kernel when libnvdimm is loaded or unloaded: no polling, and no wake-up for anything else.

use std::io;
use std::task::{self, Poll};

use super::uevents::filter::Pattern;
use super::uevents::{Received, Uevents};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleChange {
    /// It was loaded; its devices appear later.
    Added,
    Removed,
    /// Messages were lost: any change may have happened.
    Overrun,
}

/// Listens to the kernel's messages about modules.
pub struct ModuleWatch(Uevents);

/// `add@/module/libnvdimm` and `remove@/module/libnvdimm`.
const PATTERNS: [Pattern; 2] = [Pattern([(0, *b"add@"), (12, *b"libn")]), Pattern([(0, *b"remo"), (15, *b"libn")])];

impl ModuleWatch {
    /// Must be called within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        Uevents::open(&PATTERNS).map(Self)
    }

    /// The next change. Cancellation-safe.
    pub fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<ModuleChange>> {
        self.0.poll_next(context, parse).map_ok(|received| match received {
            Received::Message(change) => change,
            Received::Overrun => ModuleChange::Overrun,
        })
    }
}

/// A message begins with `ACTION@DEVPATH`, ended by a NUL (lib/kobject_uevent.c).
fn parse(message: &[u8]) -> Option<ModuleChange> {
    match message.split(|byte| *byte == 0).next()? {
        b"add@/module/libnvdimm" => Some(ModuleChange::Added),
        b"remove@/module/libnvdimm" => Some(ModuleChange::Removed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::uevents::filter::accepts;

    #[test]
    fn only_libnvdimm_itself_counts() {
        assert_eq!(parse(b"add@/module/libnvdimm\0ACTION=add\0"), Some(ModuleChange::Added));
        assert_eq!(parse(b"remove@/module/libnvdimm\0ACTION=remove\0"), Some(ModuleChange::Removed));
        assert_eq!(parse(b"add@/module/libnvdimm_test\0"), None);
        assert_eq!(parse(b"change@/devices/x\0"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_kernel_drops_messages_about_other_modules() {
        assert!(accepts(&PATTERNS, b"add@/module/libnvdimm\0ACTION=add\0"));
        assert!(accepts(&PATTERNS, b"remove@/module/libnvdimm\0ACTION=remove\0"));
        assert!(!accepts(&PATTERNS, b"add@/module/device_dax\0ACTION=add\0"));
        assert!(!accepts(&PATTERNS, b"change@/devices/virtual/net/libn\0ACTION=change\0"));
    }
}
