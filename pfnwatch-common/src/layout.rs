//! Where the members of kernel structures lie in the kernel that runs.
//!
//! The agent resolves every offset from BTF (its `kernel/layout/table.rs` holds the table) and hands the result to the eBPF
//! programs as one read-only global. There are no default offsets: what BTF does not have stays [`FieldOffset::MISSING`],
//! and the agent does not attach a program that would need it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The offset of a member in bytes from the start of its structure, or [`Self::MISSING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(transparent)]
pub struct FieldOffset(u32);

impl FieldOffset {
    /// The kernel has no such member, or its BTF does not describe it.
    pub const MISSING: Self = Self(u32::MAX);

    /// No structure of the kernel is larger. That the bound is small lets eBPF compare with it in one instruction.
    const MAX_OFFSET: u32 = 1 << 20;

    /// A known offset in bytes; `None` if it exceeds `MAX_OFFSET`.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes > Self::MAX_OFFSET { None } else { Some(Self(bytes)) }
    }

    /// The offset in bytes.
    pub const fn get(self) -> Option<u32> {
        if self.0 > Self::MAX_OFFSET { None } else { Some(self.0) }
    }
}

/// Declares a `repr(C)` structure of offsets, with an `UNRESOLVED` constant.
macro_rules! offsets {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: FieldOffset,)*
        }

        impl $name {
            pub const UNRESOLVED: Self = Self { $($field: FieldOffset::MISSING,)* };
        }
    };
}

offsets! {
    Device {
        /// `kobj`: the `struct kobject` itself, which sysfs knows.
        kobj,
        /// `kobj.name`: a pointer to the device's name.
        name,
        /// `parent`: a pointer to a `struct device`.
        parent,
        /// `type`: a pointer to a `struct device_type`.
        device_type,
        /// `driver`: a pointer to a `struct device_driver`, null while unbound.
        driver,
    }
}

offsets! {
    DeviceType {
        /// `name`: a pointer to `nd_pfn`, `nd_dax`, `nd_namespace_pmem`, ….
        name,
    }
}

offsets! {
    DeviceDriver {
        /// `name`: a pointer to `nd_pmem`, `dax_pmem`, ….
        name,
    }
}

offsets! {
    /// `struct nd_pfn` (drivers/nvdimm/nd.h); a `struct nd_dax` is one `nd_pfn`.
    NdPfn {
        /// `uuid`: a pointer to the 16 bytes that user space gave, or null.
        uuid,
        /// `dev`: the `struct device` itself.
        dev,
        /// `align`: unsigned long, bytes.
        align,
        /// `npfns`: unsigned long.
        npfns,
        /// `mode`: enum nd_pfn_mode.
        mode,
        /// `pfn_sb`: a pointer to the info block, device-managed memory.
        pfn_sb,
        /// `ndns`: a pointer to the claimed `struct nd_namespace_common`, or null.
        ndns,
    }
}

offsets! {
    /// `struct nd_btt` (drivers/nvdimm/nd.h).
    NdBtt {
        /// `dev`: the `struct device` itself.
        dev,
        /// `ndns`: a pointer to the claimed `struct nd_namespace_common`, or null.
        ndns,
    }
}

offsets! {
    /// `struct nd_namespace_common` (include/linux/nd.h).
    NdNamespaceCommon {
        /// `dev`: the `struct device` itself.
        dev,
    }
}

offsets! {
    /// `struct nd_namespace_io` (include/linux/nd.h); begins with the `nd_namespace_common`.
    NdNamespaceIo {
        /// `common`: the `struct nd_namespace_common` itself.
        common,
        /// `res.start`: resource_size_t, the physical address of the namespace's first byte.
        res_start,
        /// `res.end`: resource_size_t, the physical address of its last byte.
        res_end,
    }
}

offsets! {
    /// `struct nd_namespace_pmem` (include/linux/nd.h); begins with the `nd_namespace_io`.
    NdNamespacePmem {
        /// `nsio`: the `struct nd_namespace_io` itself.
        nsio,
        /// `uuid`: a pointer to the label's uuid, or null.
        uuid,
        /// `alt_name`: a pointer to the label's name, or null.
        alt_name,
    }
}

offsets! {
    /// `struct nd_region` (drivers/nvdimm/nd.h).
    NdRegion {
        /// `dev`: the `struct device` itself.
        dev,
        /// `id`: int, the number in the region's name.
        id,
        /// `pfn_seed`: a pointer to the `struct device` of the next pfn device.
        pfn_seed,
        /// `dax_seed`: a pointer to the `struct device` of the next dax device.
        dax_seed,
    }
}

offsets! {
    Task {
        /// `flags`: unsigned int, `PF_KTHREAD` among them.
        flags,
    }
}

offsets! {
    KernfsNode {
        /// `name`: a pointer to the node's name.
        name,
        /// `flags`: unsigned short, the node's type in its lowest four bits.
        flags,
        /// `id`: u64, of which no two nodes have the same.
        id,
        /// `priv`: a pointer to the `struct kobject` of a sysfs directory.
        private,
    }
}

offsets! {
    Module {
        /// `name`: the name itself, 56 bytes or so.
        name,
    }
}

offsets! {
    /// `struct dev_pagemap` (include/linux/memremap.h).
    DevPagemap {
        /// `flags`: unsigned int, `PGMAP_ALTMAP_VALID` among them.
        flags,
        /// `vmemmap_shift`: unsigned long, since 5.17.
        vmemmap_shift,
        /// `nr_range`: int, the ranges that are mapped.
        nr_range,
        /// `range.start`: u64, of the first range; the others follow it.
        range_start,
        /// `range.end`: u64, its last byte.
        range_end,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Layout {
    pub device: Device,
    pub device_type: DeviceType,
    pub device_driver: DeviceDriver,
    pub nd_pfn: NdPfn,
    pub nd_btt: NdBtt,
    pub nd_namespace_common: NdNamespaceCommon,
    pub nd_namespace_io: NdNamespaceIo,
    pub nd_namespace_pmem: NdNamespacePmem,
    pub nd_region: NdRegion,
    pub task: Task,
    pub kernfs_node: KernfsNode,
    pub module: Module,
    pub dev_pagemap: DevPagemap,
}

impl Layout {
    pub const UNRESOLVED: Self = Self {
        device: Device::UNRESOLVED,
        device_type: DeviceType::UNRESOLVED,
        device_driver: DeviceDriver::UNRESOLVED,
        nd_pfn: NdPfn::UNRESOLVED,
        nd_btt: NdBtt::UNRESOLVED,
        nd_namespace_common: NdNamespaceCommon::UNRESOLVED,
        nd_namespace_io: NdNamespaceIo::UNRESOLVED,
        nd_namespace_pmem: NdNamespacePmem::UNRESOLVED,
        nd_region: NdRegion::UNRESOLVED,
        task: Task::UNRESOLVED,
        kernfs_node: KernfsNode::UNRESOLVED,
        module: Module::UNRESOLVED,
        dev_pagemap: DevPagemap::UNRESOLVED,
    };
}
