//! The maps.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::{KnownBlock, NamespacePlace, REGION_EPOCH_SLOTS, UuidStore};
use pfnwatch_common::policy::{SLOTS, Snapshot};
use pfnwatch_common::record::Attempt;

use crate::uuid::Uuid;

/// Records for the agent, which sets the size.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Attempts in flight, by thread id. An entry is made when one begins, so that an idle host keeps none.
#[map]
pub(crate) static ATTEMPTS: HashMap<u32, Attempt> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static POLICIES: Array<Snapshot> = Array::with_max_entries(SLOTS, 0);

/// The number of snapshots published: the latest is in slot `ACTIVE % SLOTS`.
#[map]
pub(crate) static ACTIVE: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static MODULE_EPOCH: Array<u64> = Array::with_max_entries(1, 0);

/// How often a region of this slot was enabled.
#[map]
pub(crate) static REGION_EPOCHS: Array<u64> = Array::with_max_entries(REGION_EPOCH_SLOTS, 0);

/// The thread that was seen beginning to bind a device, by the device's address, until the bind ends. One that falls out is a bind
/// that nobody saw begin: what is bound then is unseen.
#[map]
pub(crate) static BEGUN_BINDS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(256, 0);

/// The agent sets the size.
#[map]
pub(crate) static KNOWN_BLOCKS: HashMap<NamespacePlace, KnownBlock> =
    HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// The uuid that user space wrote last to a pfn or dax device, or to a namespace that had no size, by the device's address.
/// One that falls out is a creation that passes.
#[map]
pub(crate) static WRITTEN_UUIDS: LruHashMap<u64, Uuid> = LruHashMap::with_max_entries(256, 0);

/// A write of a uuid in progress, by thread id.
#[map]
pub(crate) static UUID_STORES: HashMap<u32, UuidStore> = HashMap::with_max_entries(64, BPF_F_NO_PREALLOC);

/// Exemptions that are valid for one creation, by id. Removing the entry spends it.
#[map]
pub(crate) static ONE_SHOT_EXEMPTIONS: HashMap<u64, u64> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static ACTIVE_OWNER: Array<u64> = Array::with_max_entries(1, 0);

/// The node of the creation that a guard allowed last, by thread id: for another guard on the same hook.
#[map]
pub(crate) static PASSED_NODES: LruHashMap<u32, u64> = LruHashMap::with_max_entries(256, 0);
