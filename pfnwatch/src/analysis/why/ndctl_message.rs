//! What ndctl prints when it gives up, as people quote it.

use super::pattern::fields;
use crate::model::units::parse_number;
use crate::model::why::{Answer, FailureCause as Cause};

/// Whether the cause has to be looked for on this host: the message has only the error's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdctlAnswer {
    pub answer: Answer,
    pub is_general: bool,
}

type Make = fn(&[&str]) -> Answer;

/// The kernel's debug messages have the reasons that it does not log otherwise, as of the next attempt.
const DEBUG_MESSAGES: &str = "sudo sh -c 'echo module libnvdimm +p >/sys/kernel/debug/dynamic_debug/control'";

/// Texts of ndctl 61 to 82 (ndctl/namespace.c, ndctl/lib/libndctl.c). The first that matches counts.
const KNOWN: [(&str, bool, Make); 18] = [
    ("*: set_uuid failed: Device or resource busy*", false, |_| {
        Answer::new(
            Cause::SeedNotBlank,
            "the namespace that ndctl would make, the region's seed, is not blank: a creation that broke off has left a uuid on it, or it is in use; destroy it, whatever ndctl prints of zeroing",
            "ndctl destroy-namespace -f $(cat /sys/bus/nd/devices/region0/namespace_seed)",
        )
    }),
    ("*align setting is * size * is misaligned*", false, |at| misaligned(at.get(2).copied())),
    ("*must align to interleave-width*", false, |_| misaligned(None)),
    ("*misaligned to 16M, adjust region alignment and retry*", false, |_| {
        Answer::new(
            Cause::RegionMisaligned,
            "ndctl makes namespaces at multiples of 16 MiB alone, and the region does not begin at one (memmap= on the kernel's command line, a VM's memory): move the region",
            "cat /sys/bus/nd/devices/region*/resource",
        )
    }),
    ("*is active, specify --force for re-configuration*", false, |_| in_use()),
    ("*enabled, must be disabled*", false, |_| in_use()),
    ("*error reading infoblock data: Device or resource busy*", false, |_| in_use()),
    ("*active as system-ram, refusing to disable*", false, |_| {
        Answer::new(
            Cause::SystemRam,
            "its memory is system RAM: take it offline first (daxctl offline-memory, then daxctl reconfigure-device --mode=devdax)",
            "daxctl list -D",
        )
    }),
    ("*: No space left on device*", false, |_| {
        Answer::new(
            Cause::NoSpace,
            "the region has no free stretch of that size",
            "sudo pfnwatch predict --region region0",
        )
    }),
    ("*failed to enable for zeroing*", false, |_| {
        Answer::new(
            Cause::NoDeviceOrAddress,
            "the namespace could not be enabled raw to clear its info block; it is destroyed all the same",
            "ndctl list -Ni",
        )
    }),
    ("*: No such device or address*", true, |_| {
        Answer::new(
            Cause::NoDeviceOrAddress,
            "ENXIO: the kernel refused the bind, and ndctl does not know why: nothing usable is left, the region is read-only, the info block does not fit, or the guard of pfnwatch denied it",
            DEBUG_MESSAGES,
        )
    }),
    ("*failed to enable*", true, |_| {
        Answer::new(
            Cause::NoDeviceOrAddress,
            "the kernel refused the bind, and ndctl does not know why",
            DEBUG_MESSAGES,
        )
    }),
    ("*: No such device*", true, |_| {
        Answer::new(
            Cause::NoDevice,
            "ENODEV: the device is gone, the namespace has no size or no uuid, or a driver is not loaded",
            "sudo modprobe -a nd_pmem dax_pmem device_dax",
        )
    }),
    ("*: Invalid argument*", true, |_| {
        Answer::new(
            Cause::InvalidArgument,
            "EINVAL: size, align or start do not fit the region, or this kernel refuses map=dev (memory debugging)",
            DEBUG_MESSAGES,
        )
    }),
    ("*: Operation not supported*", true, |_| {
        Answer::new(
            Cause::NotSupported,
            "EOPNOTSUPP: the info block or the address does not fit this kernel",
            DEBUG_MESSAGES,
        )
    }),
    ("*: Device or resource busy*", true, |_| {
        Answer::new(
            Cause::InUse,
            "EBUSY: the namespace is enabled, claimed or mounted, or its addresses are in use",
            "ndctl list -Ni",
        )
    }),
    ("*: Permission denied*", true, |_| {
        Answer::new(Cause::DimmLocked, "EACCES: a DIMM is locked, or this is not root", "sudo ndctl load-keys")
    }),
    ("*: Cannot allocate memory*", true, |_| {
        Answer::new(
            Cause::BindRefused,
            "ENOMEM: the kernel had no memory for the memmap, or a security module (the guard of pfnwatch) refused the bind",
            "sudo pfnwatch events --denied",
        )
    }),
];

/// The answer to a text of ndctl; of several lines the first that is specific counts.
#[must_use]
pub fn answer(text: &str) -> Option<NdctlAnswer> {
    let of_line = |line: &str| {
        KNOWN.iter().find_map(|(pattern, is_general, make)| {
            Some(NdctlAnswer { answer: make(&fields(line, pattern)?), is_general: *is_general })
        })
    };
    let mut found: Vec<NdctlAnswer> = text.lines().filter_map(|line| of_line(line.trim())).collect();
    let specific = found.iter().position(|answer| !answer.is_general).unwrap_or(0);
    (!found.is_empty()).then(|| found.swap_remove(specific))
}

fn misaligned(size: Option<&str>) -> Answer {
    let bytes = size.and_then(parse_number);
    let size = bytes.map_or_else(|| "SIZE".to_owned(), |bytes| bytes.to_string());
    Answer::new(
        Cause::SizeMisaligned,
        "the size has to be a multiple of the region's align, times its ways: predict names the next one",
        format!("pfnwatch predict --region region0 --size {size} --ndctl-size"),
    )
}

fn in_use() -> Answer {
    Answer::new(
        Cause::InUse,
        "the namespace is enabled: disable it first, and unmount what is on it",
        "ndctl disable-namespace NAMESPACE",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As ndctl 77 of Debian prints them in a guest (docs/troubleshooting.md), and as issues of its tracker quote them.
    #[test]
    fn each_known_text_has_its_cause() {
        for (text, cause, is_general) in [
            ("failed to create namespace: No such device or address", Cause::NoDeviceOrAddress, true),
            ("failed to create namespace: No such device", Cause::NoDevice, true),
            ("failed to create namespace: Invalid argument", Cause::InvalidArgument, true),
            ("failed to reconfigure namespace: Device or resource busy", Cause::InUse, true),
            ("failed to create namespace: Operation not supported", Cause::NotSupported, true),
            ("failed to create namespace: No space left on device", Cause::NoSpace, false),
            (
                "  Error: create namespace: namespace0.0: set_uuid failed: Device or resource busy\n\nfailed to create namespace: Device or resource busy",
                Cause::SeedNotBlank,
                false,
            ),
            (
                "  Error: create namespace: region0: align setting is 0x1000000 size 0x3e800000 is misaligned",
                Cause::SizeMisaligned,
                false,
            ),
            ("region0: must align to interleave-width: 2 and alignment", Cause::SizeMisaligned, false),
            ("  Error: namespace0.0 is active, specify --force for re-configuration", Cause::InUse, false),
            ("error reading infoblock data: Device or resource busy\nread 0 infoblocks", Cause::InUse, false),
            ("namespace0.0 is enabled, must be disabled for this operation", Cause::InUse, false),
            (
                "  Error: namespace1.0 misaligned to 16M, adjust region alignment and retry\n\nfailed to create namespace: Invalid argument",
                Cause::RegionMisaligned,
                false,
            ),
            ("dax0.0: active as system-ram, refusing to disable", Cause::SystemRam, false),
            (
                "  Error: destroy namespace: namespace0.0 failed to enable for zeroing, continuing",
                Cause::NoDeviceOrAddress,
                false,
            ),
            ("libndctl: ndctl_pfn_enable: pfn0.0: failed to enable", Cause::NoDeviceOrAddress, true),
        ] {
            let found = answer(text).unwrap_or_else(|| panic!("nothing matches {text}"));
            assert_eq!((found.answer.cause, found.is_general), (cause, is_general), "{text}");
            assert!(!found.answer.next.is_empty());
        }
        assert_eq!(answer("enabled 1 namespace"), None);
    }

    #[test]
    fn each_text_is_in_the_documentation() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/troubleshooting.md"));
        for (pattern, ..) in KNOWN {
            let text = pattern.trim_matches('*').trim_start_matches(": ").replace('*', "…");
            assert!(page.contains(&format!("{text}`")), "{text}");
        }
    }

    #[test]
    fn the_size_is_in_the_next_command() {
        let found = answer("region0: align setting is 0x1000000 size 0x3e800000 is misaligned").unwrap();
        assert_eq!(found.answer.next, "pfnwatch predict --region region0 --size 1048576000 --ndctl-size");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            let _ = answer(&text);
        }
    }
}
