//! The machines that tests run on.

use guest::scope;

/// Bytes in a MiB.
pub(super) const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The size of an emulated NVDIMM's label area. The backend is region and labels together: anything else makes ndctl
/// call the region misaligned.
pub(super) const LABELS_BYTES: u64 = 2 * MIB;

/// One boot: a machine, and the tests that name the scenario in their row of `guest::scope::TABLE`.
pub(super) struct Scenario {
    /// Its name, as tests give it.
    pub(super) name: &'static str,
    /// DRAM.
    pub(super) memory_bytes: u64,
    /// The part of DRAM from `LEGACY_START` on that the kernel is told to take for persistent memory, without labels.
    pub(super) legacy_pmem_bytes: u64,
    /// The NVDIMMs, with labels, in the order of their addresses.
    pub(super) nvdimms: &'static [Nvdimm],
}

/// An emulated NVDIMM, backed by a sparse file.
pub(super) struct Nvdimm {
    /// The region's size.
    pub(super) region_bytes: u64,
    /// Its address; None where QEMU may choose.
    pub(super) address: Option<u64>,
}

/// All scenarios.
pub(super) const ALL: &[Scenario] = &[Scenario {
    name: scope::USUAL,
    // Below 2.75 GiB, q35 keeps all of it below 4 GiB, and the NVDIMMs start at 4 GiB.
    memory_bytes: 2560 * MIB,
    legacy_pmem_bytes: 512 * MIB,
    nvdimms: &[
        Nvdimm { region_bytes: 4 * GIB, address: None },
        // An odd multiple of 2 MiB: start mod align is 2 MiB for 1G, and shows in dataoff.
        Nvdimm { region_bytes: 6 * GIB, address: Some(9 * GIB + 2 * MIB) },
    ],
}];

/// Place in memory of the legacy region. Not the end of DRAM: the firmware keeps its tables there, which cuts the region
/// in two that are not aligned.
pub(super) const LEGACY_START: u64 = GIB;
