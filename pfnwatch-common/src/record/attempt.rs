//! One attempt of a driver to bind a libnvdimm device, from `nvdimm_bus_probe` to the end of `really_probe`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{RecordKind, TaskInfo, Text};

/// Which fields of an [`Attempt`] are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(transparent)]
pub struct CaptureFlags(pub u32);

impl CaptureFlags {
    pub const NONE: Self = Self(0);
    /// `nvdimm_setup_pfn` was entered.
    pub const SETUP_ENTERED: Self = Self(1 << 0);
    /// It returned: [`Attempt::setup_result`].
    pub const SETUP_RETURNED: Self = Self(1 << 1);
    /// `nd_pfn_validate` returned inside the set-up: [`Attempt::setup_validate`].
    pub const SETUP_VALIDATED: Self = Self(1 << 2);
    /// `nd_pfn_validate` returned outside a set-up, as the probe of a namespace looks for a block:
    /// [`Attempt::probe_validate`].
    pub const PROBE_VALIDATED: Self = Self(1 << 3);
    /// The driver core returned: [`Attempt::bind_result`].
    pub const BOUND: Self = Self(1 << 4);
    /// The namespace's name, range and kind are known.
    pub const NAMESPACE: Self = Self(1 << 5);
    /// The namespace has a uuid (its label's).
    pub const NAMESPACE_UUID: Self = Self(1 << 6);
    /// The pfn or dax device has a uuid (the block's).
    pub const DEVICE_UUID: Self = Self(1 << 7);
    /// The head of the info block was read: [`Attempt::block`].
    pub const BLOCK: Self = Self(1 << 8);
    /// A read of kernel memory failed, so that some of the rest may be missing.
    pub const FAULT: Self = Self(1 << 9);

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The kind of a libnvdimm device, by its `device_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Personality {
    Other = 0,
    /// `nd_pfn`: an fsdax personality over a namespace.
    Pfn = 1,
    /// `nd_dax`: a devdax personality over a namespace.
    Dax = 2,
    /// `nd_btt`: a sector personality over a namespace.
    Btt = 3,
    /// `nd_namespace_pmem`: a namespace with a label.
    NamespacePmem = 4,
    /// `nd_namespace_io`: a namespace without a label (e820, legacy).
    NamespaceIo = 5,
}

impl Personality {
    pub const fn from_u32(number: u32) -> Self {
        match number {
            1 => Self::Pfn,
            2 => Self::Dax,
            3 => Self::Btt,
            4 => Self::NamespacePmem,
            5 => Self::NamespaceIo,
            _ => Self::Other,
        }
    }
}

/// Bytes of the info block that are kept: all members before the padding (include/uapi: `struct nd_pfn_sb` up to and
/// with `page_struct_size`, drivers/nvdimm/pfn.h).
pub const BLOCK_HEAD: usize = crate::superblock::HEAD_SIZE;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Attempt {
    /// [`crate::record::RecordKind::Attempt`].
    pub kind: u32,
    pub seen: CaptureFlags,
    /// Start, in nanoseconds since boot, suspend included.
    pub began_ns: u64,
    /// End, in nanoseconds since boot, suspend included.
    pub ended_ns: u64,
    /// The kernel's address of the `struct device`, which pairs the programs' views of one attempt; never printed.
    pub device_address: u64,
    /// The kernel's address of the `struct nd_pfn` while `nvdimm_setup_pfn` runs, else 0; never printed.
    pub nd_pfn_address: u64,
    /// The kernel's address of the `struct nd_pfn` that `nd_pfn_validate` checks, else 0; never printed.
    pub validated_address: u64,
    pub task: TaskInfo,
    /// The device's name: `pfn0.1`, `namespace0.0`.
    pub device: Text<32>,
    /// The name of its region: `region0`.
    pub region: Text<32>,
    /// The driver's name: `nd_pmem`, `dax_pmem`.
    pub driver: Text<32>,
    /// [`Personality`] of the device.
    pub personality: u32,
    /// What `really_probe` returned: 0 bound, positive the driver's error number, negative the driver core's.
    pub bind_result: i32,
    /// What `nvdimm_setup_pfn` returned: 0 or a negative error number.
    pub setup_result: i32,
    /// What `nd_pfn_validate` returned inside it: 0 for an existing block, -19 (ENODEV) for none.
    pub setup_validate: i32,
    /// The most specific value that `nd_pfn_validate` returned outside a set-up, where it is called for each signature: 0 once
    /// a block was found, -19 if there is none, else the reason why the block is not accepted.
    pub probe_validate: i32,
    /// `nd_pfn.mode` (enum nd_pfn_mode): 0 none, 1 memmap in RAM, 2 memmap in pmem.
    pub mode: u32,
    /// `nd_pfn.align` in bytes.
    pub align: u64,
    /// `nd_pfn.npfns`: usable pages, after the set-up.
    pub npfns: u64,
    /// Physical address of the namespace's first byte.
    pub namespace_start: u64,
    /// Physical address of its last byte.
    pub namespace_end: u64,
    pub namespace: Text<32>,
    /// [`Personality`] of the namespace.
    pub namespace_personality: u32,
    /// Zero.
    pub reserved: u32,
    /// The namespace uuid, in the order in which it is printed.
    pub namespace_uuid: [u8; 16],
    /// The uuid of the pfn or dax device.
    pub device_uuid: [u8; 16],
    /// The head of the info block, as on the media.
    pub block: [u8; BLOCK_HEAD],
}

impl Attempt {
    pub const EMPTY: Self = Self {
        kind: RecordKind::Attempt as u32,
        seen: CaptureFlags::NONE,
        began_ns: 0,
        ended_ns: 0,
        device_address: 0,
        nd_pfn_address: 0,
        validated_address: 0,
        task: TaskInfo::EMPTY,
        device: Text::EMPTY,
        region: Text::EMPTY,
        driver: Text::EMPTY,
        personality: 0,
        bind_result: 0,
        setup_result: 0,
        setup_validate: 0,
        probe_validate: 0,
        mode: 0,
        align: 0,
        npfns: 0,
        namespace_start: 0,
        namespace_end: 0,
        namespace: Text::EMPTY,
        namespace_personality: 0,
        reserved: 0,
        namespace_uuid: [0; 16],
        device_uuid: [0; 16],
        block: [0; BLOCK_HEAD],
    };
}
