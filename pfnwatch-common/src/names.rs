//! The names by which the agent finds programs, maps and globals in the eBPF object.

/// Kprobe on `nvdimm_bus_probe`: an attempt begins.
pub const BUS_PROBE: &str = "bus_probe";
/// Kprobe on `nvdimm_setup_pfn`.
pub const SETUP_PFN_ENTER: &str = "setup_pfn_enter";
/// Kretprobe on `nvdimm_setup_pfn`.
pub const SETUP_PFN_RETURN: &str = "setup_pfn_return";
/// Kretprobe on `nd_pfn_validate`.
pub const PFN_VALIDATE_RETURN: &str = "pfn_validate_return";
/// Kprobe on `__pm_runtime_idle`: an attempt has ended.
pub const BIND_END: &str = "bind_end";
/// Fexit on `really_probe`: how an attempt ends.
pub const BIND_RESULT: &str = "bind_result";
/// The same, for an end that comes while [`BIND_RESULT`] is held up on the same CPU.
pub const BIND_RESULT_SPARE: &str = "bind_result_spare";
/// Kprobe on `nvdimm_bus_remove`.
pub const BUS_REMOVE: &str = "bus_remove";
/// Kprobe on `nd_namespace_store`.
pub const NAMESPACE_STORE: &str = "namespace_store";
/// Kprobe on `nd_pmem_namespace_label_update`.
pub const LABEL_UPDATE: &str = "label_update";
/// Kprobe on `dev_attr_show`: hands over the info block of a bound device while the agent reads its attribute.
pub const ATTRIBUTE_SHOW: &str = "attribute_show";

/// LSM program on `kernfs_init_security`: the guard.
pub const GUARD: &str = "guard";
/// Kprobe on `nd_pfn_validate`.
pub const PFN_VALIDATE_ENTER: &str = "pfn_validate_enter";
/// Kprobe on `nd_uuid_store`: user space writes the uuid of a device.
pub const UUID_STORE_ENTER: &str = "uuid_store_enter";
/// Kretprobe on `nd_uuid_store`.
pub const UUID_STORE_RETURN: &str = "uuid_store_return";
/// Raw tracepoint `module_load`.
pub const MODULE_LOAD: &str = "module_load";
/// Raw tracepoint `module_free`.
pub const MODULE_FREE: &str = "module_free";

/// The ring buffer of records.
pub const RECORDS: &str = "RECORDS";
/// The per-CPU counters.
pub const COUNTERS: &str = "COUNTERS";
/// Attempts in flight.
pub const ATTEMPTS: &str = "ATTEMPTS";
/// The uuids that user space wrote.
pub const WRITTEN_UUIDS: &str = "WRITTEN_UUIDS";
/// Writes of a uuid that are under way.
pub const UUID_STORES: &str = "UUID_STORES";
/// One u64 for each thread: the node of the creation that a guard has let pass last, for another guard beside it.
pub const PASSED_NODES: &str = "PASSED_NODES";
/// The slots for [`crate::policy::Snapshot`]s.
pub const POLICIES: &str = "POLICIES";
/// One u64: how many snapshots were handed over so far; the last one is in slot `ACTIVE % SLOTS`. 0 for none.
pub const ACTIVE: &str = "ACTIVE";
/// One u64: how often libnvdimm was loaded or unloaded since the programs were.
pub const MODULE_EPOCH: &str = "MODULE_EPOCH";
/// The uuid of the valid info block on a namespace, by the namespace's start.
pub const KNOWN_BLOCKS: &str = "KNOWN_BLOCKS";
/// One byte for each [`crate::guard::missed_slot`]: whether a block was met for which there was no room above.
pub const MISSED_BLOCKS: &str = "MISSED_BLOCKS";
/// One entry for each exemption that is good for one creation, by its id: whoever removes it has spent it.
pub const ONE_SHOT_EXEMPTIONS: &str = "ONE_SHOT_EXEMPTIONS";
/// One u64: which load of the programs tells what happens, by its [`GUARD_ID`].
pub const ACTIVE_OWNER: &str = "ACTIVE_OWNER";

/// Global: the [`crate::layout::Layout`].
pub const LAYOUT: &str = "LAYOUT";
/// Global, u8: whether the programs write debug messages through aya-log.
pub const DEBUG: &str = "DEBUG";
/// Global, u32: the process (tgid) for whose reads `attribute_show` hands info blocks over; 0 for none.
pub const READER: &str = "READER";
/// Global, u8: whether `bind_end` is attached, so that an attempt may wait for it.
pub const BIND_SEEN: &str = "BIND_SEEN";
/// Global, u64: this load's own number among loads that share maps.
pub const GUARD_ID: &str = "GUARD_ID";
