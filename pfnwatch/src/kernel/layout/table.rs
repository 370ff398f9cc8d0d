//! The table: which member of which structure fills which field.
//!
//! Members and their widths are the same on x86_64 from 6.1 to 7.3; a row notes where other kernels may differ.

use Structure::{
    DevPagemap, Device, DeviceDriver, DeviceType, KernfsNode, Kobject, Module, NdBtt, NdNamespaceCommon, NdNamespaceIo,
    NdNamespacePmem, NdPfn, NdRegion, Task,
};
use Width::{Bytes, Whole};

use super::{Row, Structure, Width};

const POINTER: Width = Bytes(&[8]);
const LONG: Width = Bytes(&[8]);
const INT: Width = Bytes(&[4]);

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

/// One row: the structure, the field of the layout, the members that may hold it, their width, whether it is required.
macro_rules! row {
    ($structure:ident, $outer:ident.$field:ident, $members:expr, $width:expr, $required:expr) => {
        Row {
            structure: $structure,
            field: stringify!($field),
            members: &$members,
            width: $width,
            required: $required,
            set: |layout, offset| layout.$outer.$field = offset,
        }
    };
}

pub(super) const TABLE: &[Row] = &[
    row!(Device, device.kobj, ["kobj"], Whole(Kobject), OPTIONAL),
    row!(Device, device.name, ["kobj.name"], POINTER, REQUIRED),
    row!(Device, device.parent, ["parent"], POINTER, REQUIRED),
    row!(Device, device.device_type, ["type"], POINTER, REQUIRED),
    row!(Device, device.driver, ["driver"], POINTER, OPTIONAL),
    row!(DeviceType, device_type.name, ["name"], POINTER, REQUIRED),
    row!(DeviceDriver, device_driver.name, ["name"], POINTER, OPTIONAL),
    row!(NdPfn, nd_pfn.uuid, ["uuid"], POINTER, REQUIRED),
    row!(NdPfn, nd_pfn.dev, ["dev"], Whole(Device), REQUIRED),
    row!(NdPfn, nd_pfn.align, ["align"], LONG, REQUIRED),
    row!(NdPfn, nd_pfn.npfns, ["npfns"], LONG, REQUIRED),
    row!(NdPfn, nd_pfn.mode, ["mode"], INT, REQUIRED),
    row!(NdPfn, nd_pfn.pfn_sb, ["pfn_sb"], POINTER, REQUIRED),
    row!(NdPfn, nd_pfn.ndns, ["ndns"], POINTER, REQUIRED),
    // A kernel without CONFIG_BTT has no sector namespaces, and may not have the structure.
    row!(NdBtt, nd_btt.dev, ["dev"], Whole(Device), OPTIONAL),
    row!(NdBtt, nd_btt.ndns, ["ndns"], POINTER, OPTIONAL),
    row!(NdNamespaceCommon, nd_namespace_common.dev, ["dev"], Whole(Device), REQUIRED),
    row!(NdNamespaceIo, nd_namespace_io.common, ["common"], Whole(NdNamespaceCommon), REQUIRED),
    // resource_size_t is 8 bytes on every 64-bit kernel.
    row!(NdNamespaceIo, nd_namespace_io.res_start, ["res.start"], LONG, REQUIRED),
    row!(NdNamespaceIo, nd_namespace_io.res_end, ["res.end"], LONG, REQUIRED),
    row!(NdNamespacePmem, nd_namespace_pmem.nsio, ["nsio"], Whole(NdNamespaceIo), OPTIONAL),
    row!(NdNamespacePmem, nd_namespace_pmem.uuid, ["uuid"], POINTER, OPTIONAL),
    row!(NdNamespacePmem, nd_namespace_pmem.alt_name, ["alt_name"], POINTER, OPTIONAL),
    row!(NdRegion, nd_region.dev, ["dev"], Whole(Device), OPTIONAL),
    row!(NdRegion, nd_region.id, ["id"], INT, OPTIONAL),
    row!(NdRegion, nd_region.pfn_seed, ["pfn_seed"], POINTER, OPTIONAL),
    row!(NdRegion, nd_region.dax_seed, ["dax_seed"], POINTER, OPTIONAL),
    row!(Task, task.flags, ["flags"], INT, REQUIRED),
    row!(KernfsNode, kernfs_node.name, ["name"], POINTER, OPTIONAL),
    // The lowest two bytes hold the node's type, whether it is a short (6.1 to 7.3) or an int.
    row!(KernfsNode, kernfs_node.flags, ["flags"], Bytes(&[2, 4]), OPTIONAL),
    row!(KernfsNode, kernfs_node.id, ["id"], Bytes(&[8]), OPTIONAL),
    row!(KernfsNode, kernfs_node.private, ["priv"], POINTER, OPTIONAL),
    // MODULE_NAME_LEN, which is 64 less the size of a long on every kernel so far.
    row!(Module, module.name, ["name"], Bytes(&[56]), OPTIONAL),
    row!(DevPagemap, dev_pagemap.flags, ["flags"], INT, OPTIONAL),
    row!(DevPagemap, dev_pagemap.vmemmap_shift, ["vmemmap_shift"], LONG, OPTIONAL),
    row!(DevPagemap, dev_pagemap.nr_range, ["nr_range"], INT, OPTIONAL),
    row!(DevPagemap, dev_pagemap.range_start, ["range.start"], LONG, OPTIONAL),
    row!(DevPagemap, dev_pagemap.range_end, ["range.end"], LONG, OPTIONAL),
];
