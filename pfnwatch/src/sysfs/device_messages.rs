//! Learns from the kernel that devices of the dax bus or memory blocks may have changed: what changed, the next inventory shows.

use std::io;
use std::task::{self, Poll};

use super::uevents::Uevents;
use super::uevents::filter::Pattern;

/// The kernel's messages about devices of the dax bus and memory blocks.
pub trait DeviceMessages {
    /// Waits for the next message. Cancellation-safe.
    fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>>;

    /// Discards what has arrived. Returns whether there was any.
    fn discard(&mut self) -> bool;
}

/// The messages of this host's kernel.
pub struct HostDeviceMessages(Uevents);

/// Bytes of `add`, `bind`, `remove` (`unbind`, `online`, `change`) and `offline`.
const ACTIONS: [u32; 4] = [3, 4, 6, 7];
/// Of `ACTION@/devices/system/memory/…` and `ACTION@/devices/platform/…`, where CXL regions (`ACPI0017:00`, `cxl_acpi.0`) and soft-reserved
/// memory (`hmem.0`) are: the offset from the end of the action, and what is there.
const PLACES: [[(u32, [u8; 4]); 2]; 4] = [
    [(10, *b"syst"), (17, *b"memo")],
    [(10, *b"plat"), (19, *b"ACPI")],
    [(10, *b"plat"), (19, *b"cxl_")],
    [(10, *b"plat"), (19, *b"hmem")],
];

fn patterns() -> Vec<Pattern> {
    let after = |action: u32| PLACES.map(|place| Pattern(place.map(|(offset, text)| (action + offset, text))));
    ACTIONS.into_iter().flat_map(after).collect()
}

impl HostDeviceMessages {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel's messages cannot be listened to.
    pub fn open() -> io::Result<Self> {
        Uevents::open(&patterns()).map(Self)
    }
}

impl DeviceMessages for HostDeviceMessages {
    fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_next(context, parse).map_ok(drop)
    }

    fn discard(&mut self) -> bool {
        self.0.discard(parse)
    }
}

/// Whether a message is about such a device, by the subsystem among its variables.
fn parse(message: &[u8]) -> Option<()> {
    let mut fields = message.split(|byte| *byte == 0);
    fields.any(|field| matches!(field, b"SUBSYSTEM=dax" | b"SUBSYSTEM=memory")).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::uevents::filter::accepts;

    fn message(action: &str, path: &str, subsystem: &str) -> Vec<u8> {
        format!("{action}@{path}\0ACTION={action}\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0SEQNUM=1\0").into_bytes()
    }

    fn is_received(message: &[u8]) -> bool {
        accepts(&patterns(), message) && parse(message).is_some()
    }

    #[test]
    fn messages_about_devices_and_memory_blocks_are_received() {
        let cxl = "/devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0";
        for action in ["add", "bind", "unbind", "change", "remove"] {
            for path in [cxl, "/devices/platform/hmem.0/dax0.0", "/devices/platform/hmem_platform.0/hmem.0/dax0.0"] {
                assert!(is_received(&message(action, path, "dax")), "{action} {path}");
            }
        }
        for action in ["add", "online", "offline", "remove"] {
            assert!(is_received(&message(action, "/devices/system/memory/memory366", "memory")), "{action}");
        }
    }

    #[test]
    fn the_kernel_drops_other_messages() {
        for (action, path, subsystem) in [
            ("add", "/devices/virtual/net/veth0", "net"),
            ("online", "/devices/system/cpu/cpu1", "cpu"),
            ("change", "/devices/platform/serial8250/tty/ttyS0", "tty"),
            ("add", "/devices/pci0000:00/0000:00:1f.2/ata1/host0", "scsi"),
            ("add", "/module/device_dax", "module"),
        ] {
            assert!(!accepts(&patterns(), &message(action, path, subsystem)), "{path}");
        }
        assert!(parse(&message("add", "/devices/platform/ACPI0017:00/root0", "cxl")).is_none());
    }
}
