//! The names by which the agent finds programs, maps and globals in the eBPF object.

/// Kprobe on `nvdimm_bus_probe`: an attempt begins.
pub const BUS_PROBE: &str = "bus_probe";
pub const SETUP_PFN_ENTER: &str = "setup_pfn_enter";
pub const SETUP_PFN_RETURN: &str = "setup_pfn_return";
pub const PFN_VALIDATE_RETURN: &str = "pfn_validate_return";
/// Kprobe on `__pm_runtime_idle`: an attempt has ended.
pub const BIND_END: &str = "bind_end";
/// Fexit on `really_probe`: how an attempt ends.
pub const BIND_RESULT: &str = "bind_result";
/// The same, for an attempt that ends while [`BIND_RESULT`] is busy on the same CPU.
pub const BIND_RESULT_SPARE: &str = "bind_result_spare";
pub const BUS_REMOVE: &str = "bus_remove";
pub const NAMESPACE_STORE: &str = "namespace_store";
pub const LABEL_UPDATE: &str = "label_update";
/// Kprobe on `memunmap_pages`: the memmap of a device's ranges is removed.
pub const MEMMAP_REMOVED: &str = "memmap_removed";
/// Kprobe on `remove_memory_block_devices`: memory that was system RAM is removed.
pub const MEMORY_BLOCKS_REMOVED: &str = "memory_blocks_removed";
/// Kprobe on `dev_attr_show`: hands over the info block of a bound device while the agent reads its attribute.
pub const ATTRIBUTE_SHOW: &str = "attribute_show";

pub const GUARD: &str = "guard";
/// The same, for a kernel that skips a program on a CPU where another task was preempted inside it.
pub const GUARD_SPARE: &str = "guard_spare";
pub const PFN_VALIDATE_ENTER: &str = "pfn_validate_enter";
pub const UUID_STORE_ENTER: &str = "uuid_store_enter";
pub const UUID_STORE_RETURN: &str = "uuid_store_return";
pub const MODULE_LOAD: &str = "module_load";
pub const MODULE_FREE: &str = "module_free";

pub const RECORDS: &str = "RECORDS";
pub const COUNTERS: &str = "COUNTERS";
pub const ATTEMPTS: &str = "ATTEMPTS";
pub const WRITTEN_UUIDS: &str = "WRITTEN_UUIDS";
pub const UUID_STORES: &str = "UUID_STORES";
/// One u64 for each thread: the node of the creation that a guard allowed last, read by another guard on the same hook.
pub const PASSED_NODES: &str = "PASSED_NODES";
pub const POLICIES: &str = "POLICIES";
/// One u64: the number of snapshots published so far; the latest is in slot `ACTIVE % SLOTS`. 0 if there is none.
pub const ACTIVE: &str = "ACTIVE";
/// One u64: how often libnvdimm was loaded or unloaded since the programs were loaded.
pub const MODULE_EPOCH: &str = "MODULE_EPOCH";
/// One u64 for each [`crate::guard::NamespacePlace::epoch_slot`]: how often a region of this slot was enabled.
pub const REGION_EPOCHS: &str = "REGION_EPOCHS";
/// The [`crate::guard::KnownBlock`] of a namespace, by its [`crate::guard::NamespacePlace`].
pub const KNOWN_BLOCKS: &str = "KNOWN_BLOCKS";
/// One entry, by id, for each exemption that is valid for one creation: removing the entry spends it.
pub const ONE_SHOT_EXEMPTIONS: &str = "ONE_SHOT_EXEMPTIONS";
/// One u64: the [`GUARD_ID`] of the load whose programs send records.
pub const ACTIVE_OWNER: &str = "ACTIVE_OWNER";

pub const LAYOUT: &str = "LAYOUT";
/// Global, u8: whether the programs write debug messages through aya-log.
pub const DEBUG: &str = "DEBUG";
/// Global, u32: the process (tgid) for whose reads `attribute_show` sends info blocks; 0 for none.
pub const READER: &str = "READER";
/// Global, u8: whether `bind_end` is attached, so that an attempt may wait for it.
pub const BIND_SEEN: &str = "BIND_SEEN";
/// Global, u64: the number of this load among loads that share maps.
pub const GUARD_ID: &str = "GUARD_ID";
