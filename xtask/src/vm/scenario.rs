//! The machines that tests run on.

use guest::kernel_lines::Lines;
use guest::scope;

use super::variant::Variant;
use crate::architecture::Architecture;

pub(super) const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The size of an emulated NVDIMM's label area. The backend is region and labels together: anything else makes ndctl
/// call the region misaligned.
pub(super) const LABELS_BYTES: u64 = 2 * MIB;

/// One boot: a machine, and the tests that name the scenario in their row of `guest::scope::TABLE`.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// What of the kernel is not Debian's own build.
    pub(super) kernel: On,
    /// The scenario whose NVDIMMs and disk are taken over with what is on them; it has to be run before, with the same.
    pub(super) continues: Option<&'static str>,
    pub(super) userland: Userland,
    pub(super) arguments: &'static str,
    pub(super) memory_bytes: u64,
    /// The part of DRAM from `LEGACY_START` on that the kernel's command line makes persistent memory, without labels.
    pub(super) legacy_pmem_bytes: u64,
    /// The NVDIMMs, with labels, in the order of their addresses.
    pub(super) nvdimms: &'static [Nvdimm],
    /// Whether it has CXL memory and virtio-pmem (`memory_devices`).
    pub(super) has_memory_devices: bool,
    /// Whether there is a disk beside them (`disk`).
    pub(super) has_disk: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum On {
    Debian(Lines),
    /// On an arm64 machine, with each of its flavours.
    Arm64(Lines),
    Rebuilt(&'static str, Variant),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Userland {
    /// Nothing: the tests' own PID 1 and a few programs of the host, in memory.
    Bare,
    /// A small Debian under systemd, on a disk that stays for the scenario which continues this one.
    Debian,
}

impl Scenario {
    /// The name of the one that began what this one continues, if need be its own.
    pub(super) fn first(&self) -> &'static str {
        let before = self.continues.and_then(|name| ALL.iter().find(|other| other.name == name));
        before.map_or(self.name, Self::first)
    }

    pub(super) fn is_for(&self, line: &str, architecture: Architecture) -> bool {
        match self.kernel {
            On::Debian(lines) => architecture == Architecture::X86_64 && lines.contain(line),
            On::Rebuilt(own, _) => architecture == Architecture::X86_64 && own == line,
            On::Arm64(lines) => architecture == Architecture::Arm64 && lines.contain(line),
        }
    }
}

pub(super) struct Nvdimm {
    pub(super) region_bytes: u64,
    /// Its address; `None` if QEMU may choose.
    pub(super) address: Option<u64>,
}

/// The line that is rebuilt: its first releases had the regression, and its source has what the variants change.
pub(super) const REBUILT: &str = "6.1";
/// The line of which the packages for arm64 are read, too.
pub(super) const ARM64: &str = "6.12";

const fn rebuilt(variant: Variant) -> On {
    On::Rebuilt(REBUILT, variant)
}

pub(super) const ALL: &[Scenario] = &[
    DEFAULT,
    Scenario { name: scope::GUARD, kernel: On::Debian(Lines::Observing), ..DEFAULT },
    Scenario { name: scope::SOAK, kernel: On::Debian(Lines::OldestAndNewest), ..DEFAULT },
    Scenario {
        name: scope::HUGE,
        kernel: On::Debian(Lines::Only("6.12")),
        legacy_pmem_bytes: 0,
        nvdimms: &[Nvdimm { region_bytes: 257 * GIB, address: None }],
        ..DEFAULT
    },
    Scenario {
        name: scope::DEVICES,
        kernel: On::Debian(Lines::MemoryDevicesAndLoss),
        // A second range for ramdax, which makes a region of each. Ranges side by side would be one.
        arguments: "memmap=512M!1600M",
        nvdimms: &[],
        has_memory_devices: true,
        ..DEFAULT
    },
    Scenario {
        name: scope::ARM64,
        kernel: On::Arm64(Lines::Arm64),
        memory_bytes: 2048 * MIB,
        legacy_pmem_bytes: 0,
        nvdimms: &[Nvdimm { region_bytes: 8 * GIB, address: None }],
        ..DEFAULT
    },
    // Three boots of one host: a sound kernel, one with the regression, the sound one again. The kernel takes the last of its
    // lists of security modules.
    Scenario { name: scope::NO_BPF, arguments: "lsm=landlock,lockdown,yama,integrity,apparmor", ..CARRYING },
    Scenario { name: scope::MAX128, kernel: rebuilt(Variant::Max128), continues: Some(scope::NO_BPF), ..CARRYING },
    Scenario { name: scope::CARRIED, continues: Some(scope::MAX128), ..CARRYING },
    Scenario { name: scope::MAX32, kernel: rebuilt(Variant::Max32), ..LARGE },
    Scenario {
        name: scope::MAX32_OVERRIDE,
        kernel: rebuilt(Variant::Max32Override),
        arguments: "libnvdimm.page_struct_override=1",
        ..LARGE
    },
    Scenario { name: scope::DEBIAN, ..INSTALLED },
    Scenario { name: scope::DEBIAN_AGAIN, continues: Some(scope::DEBIAN), ..INSTALLED },
];

const DEFAULT: Scenario = Scenario {
    name: scope::DEFAULT,
    kernel: On::Debian(Lines::Every),
    continues: None,
    userland: Userland::Bare,
    arguments: "",
    // Below 2.75 GiB, q35 keeps all of it below 4 GiB, and the NVDIMMs start at 4 GiB.
    memory_bytes: 2560 * MIB,
    legacy_pmem_bytes: 512 * MIB,
    nvdimms: &[
        Nvdimm { region_bytes: 4 * GIB, address: None },
        // An odd multiple of 2 MiB: start mod align is 2 MiB for 1G, and shows in dataoff.
        Nvdimm { region_bytes: 6 * GIB, address: Some(9 * GIB + 2 * MIB) },
    ],
    has_memory_devices: false,
    has_disk: false,
};

/// A host as people have it: a Debian, whose kernel has the regression.
const INSTALLED: Scenario = Scenario {
    kernel: rebuilt(Variant::Max128),
    userland: Userland::Debian,
    arguments: "systemd.unit=multi-user.target systemd.show_status=error",
    legacy_pmem_bytes: 0,
    nvdimms: &[Nvdimm { region_bytes: 18 * GIB, address: None }],
    ..LARGE
};

/// Words of the kernel's command line for tests on this line. Expedited grace periods of RCU save time whenever programs are
/// attached or detached, and narrow the windows of races: the oldest and the newest line that observe keep the usual ones.
pub(super) fn line_arguments(line: &str) -> &'static str {
    let is_inner = Lines::Observing.contain(line) && !Lines::OldestAndNewest.contain(line);
    if is_inner { "rcupdate.rcu_expedited=1" } else { "" }
}

/// The default machine with room for a namespace of 16 GiB in its first NVDIMM.
const LARGE: Scenario = Scenario {
    name: "",
    nvdimms: &[
        Nvdimm { region_bytes: 17 * GIB, address: None },
        Nvdimm { region_bytes: 6 * GIB, address: Some(22 * GIB + 2 * MIB) },
    ],
    ..DEFAULT
};

const CARRYING: Scenario = Scenario { kernel: rebuilt(Variant::Stock), has_disk: true, ..LARGE };

pub(super) const DEMO: Scenario = Scenario {
    name: "demo",
    legacy_pmem_bytes: 0,
    nvdimms: &[Nvdimm { region_bytes: 10 * GIB, address: None }],
    ..LARGE
};

pub(super) const BENCH: Scenario = Scenario {
    name: "bench",
    legacy_pmem_bytes: 0,
    nvdimms: &[Nvdimm { region_bytes: 4 * GIB, address: None }],
    ..LARGE
};

/// Place in memory of the legacy region. Not the end of DRAM: the firmware keeps its tables there, which cuts the region
/// in two that are not aligned.
pub(super) const LEGACY_START: u64 = GIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_periods_are_expedited_on_inner_lines_alone() {
        let expedited: Vec<_> =
            guest::kernel_lines::KERNEL_LINES.into_iter().filter(|line| !line_arguments(line).is_empty()).collect();
        assert_eq!(expedited, ["6.12", "6.18"]);
    }
}
