//! The guard's maps: policy, known blocks, and what several loads share.

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use pfnwatch_common::{
    guard::{MISSED_SLOTS, MissedBlocks, UNKNOWN_BLOCK},
    names,
    policy::{SLOTS, Snapshot},
};

use crate::bpf::pod::Wire;

pub struct GuardMaps {
    policies: Array<MapData, Wire<Snapshot>>,
    active: Array<MapData, u64>,
    module_epoch: Array<MapData, u64>,
    known_blocks: HashMap<MapData, u64, [u8; 16]>,
    missed_blocks: Array<MapData, Wire<MissedBlocks>>,
    one_shot_exemptions: HashMap<MapData, u64, u64>,
    active_owner: Array<MapData, u64>,
    passed_nodes: HashMap<MapData, u32, u64>,
}

impl GuardMaps {
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self {
            policies: array(ebpf, names::POLICIES)?,
            active: array(ebpf, names::ACTIVE)?,
            module_epoch: array(ebpf, names::MODULE_EPOCH)?,
            known_blocks: hash(ebpf, names::KNOWN_BLOCKS)?,
            missed_blocks: array(ebpf, names::MISSED_BLOCKS)?,
            one_shot_exemptions: hash(ebpf, names::ONE_SHOT_EXEMPTIONS)?,
            active_owner: array(ebpf, names::ACTIVE_OWNER)?,
            passed_nodes: hash(ebpf, names::PASSED_NODES)?,
        })
    }

    /// How often libnvdimm was loaded or unloaded since the maps were made.
    pub fn module_epoch(&self) -> anyhow::Result<u64> {
        self.module_epoch.get(&0, 0).context("the map MODULE_EPOCH cannot be read")
    }

    pub fn number(&self) -> anyhow::Result<u64> {
        self.active.get(&0, 0).context("the map ACTIVE cannot be read")
    }

    /// Publishes a snapshot, which the guard uses once this returns. Returns its number.
    ///
    /// # Errors
    /// If the kernel refuses the update, the previous snapshot stays in force.
    pub fn publish(&mut self, snapshot: &Snapshot) -> anyhow::Result<u64> {
        let number = self.number()?.wrapping_add(1);
        let slot = u32::try_from(number % u64::from(SLOTS)).unwrap_or(0);
        self.policies.set(slot, Wire(*snapshot), 0).context("the guard's policy cannot be written")?;
        self.active.set(0, number, 0).context("the guard's policy cannot be put in force")?;
        Ok(number)
    }

    /// Adds a valid info block. An existing entry is newer, and stays.
    ///
    /// # Errors
    /// If the map is full, creations on that namespace would be judged as if there were no block.
    pub fn add_known_block(&mut self, start: u64, block_uuid: [u8; 16]) -> anyhow::Result<()> {
        /// `BPF_NOEXIST` (include/uapi/linux/bpf.h).
        const ONLY_NEW: u64 = 1;
        match self.known_blocks.insert(start, block_uuid, ONLY_NEW) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            inserted => inserted.context("a known info block cannot be handed over"),
        }
    }

    pub fn is_unknown(&self, start: u64) -> bool {
        matches!(self.known_blocks.get(&start, 0), Ok(UNKNOWN_BLOCK))
    }

    pub fn clear_unknown(&mut self, start: u64) -> anyhow::Result<()> {
        if !self.is_unknown(start) {
            return Ok(());
        }
        self.known_blocks.remove(&start).context("a known info block cannot be taken back")
    }

    pub fn create_ticket(&mut self, id: u64) -> anyhow::Result<()> {
        self.one_shot_exemptions
            .insert(id, id, 0)
            .context("the guard has no room for another exemption for one creation")
    }

    /// False if it was already spent.
    pub fn remove_ticket(&mut self, id: u64) -> bool {
        self.one_shot_exemptions.remove(&id).is_ok()
    }

    pub fn is_unspent(&self, id: u64) -> bool {
        self.one_shot_exemptions.get(&id, 0).is_ok()
    }

    /// Removes the notes for another guard, from before one was attached: they would take the room that is needed now.
    pub fn clear_passed(&mut self) {
        let left: Vec<u32> = self.passed_nodes.keys().flatten().collect();
        for thread in left {
            // One that is gone meanwhile is forgotten as well.
            let _ = self.passed_nodes.remove(&thread);
        }
    }

    /// The number of the active load; 0 for none.
    pub fn owner(&self) -> anyhow::Result<u64> {
        self.active_owner.get(&0, 0).context("the map ACTIVE_OWNER cannot be read")
    }

    pub fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let slot = u32::try_from(self.number()? % u64::from(SLOTS)).unwrap_or(0);
        let snapshot = self.policies.get(&slot, 0).context("the guard's policy cannot be read")?;
        Ok(snapshot.0)
    }

    /// Removes all info blocks: they belong to another libnvdimm.
    pub fn forget_blocks(&mut self) -> anyhow::Result<()> {
        let known: Vec<u64> = self.known_blocks.keys().flatten().collect();
        for start in known {
            // One that is gone meanwhile is forgotten as well.
            let _ = self.known_blocks.remove(&start);
        }
        self.missed_blocks
            .set(0, Wire(MissedBlocks([0; MISSED_SLOTS])), 0)
            .context("the blocks that were missed cannot be forgotten")
    }

    pub fn set_owner(&mut self, guard: u64) -> anyhow::Result<()> {
        self.active_owner.set(0, guard, 0).context("the programs cannot be put in charge")
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))
}

fn array<T: Pod>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Array<MapData, T>> {
    take(ebpf, name)?.try_into().with_context(|| format!("cannot use the map {name}"))
}

fn hash<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<HashMap<MapData, K, V>> {
    take(ebpf, name)?.try_into().with_context(|| format!("cannot use the map {name}"))
}
