//! The guard's maps: policy, known blocks, and what several loads share.

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use pfnwatch_common::{
    guard::{KnownBlock, NamespacePlace},
    names,
    policy::{SLOTS, Snapshot},
};

use crate::bpf::pod::Wire;

pub struct GuardMaps {
    policies: Array<MapData, Wire<Snapshot>>,
    active: Array<MapData, u64>,
    module_epoch: Array<MapData, u64>,
    known_blocks: HashMap<MapData, Wire<NamespacePlace>, Wire<KnownBlock>>,
    one_shot_exemptions: HashMap<MapData, u64, u64>,
    active_owner: Array<MapData, u64>,
}

impl GuardMaps {
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self {
            policies: array(ebpf, names::POLICIES)?,
            active: array(ebpf, names::ACTIVE)?,
            module_epoch: array(ebpf, names::MODULE_EPOCH)?,
            known_blocks: hash(ebpf, names::KNOWN_BLOCKS)?,
            one_shot_exemptions: hash(ebpf, names::ONE_SHOT_EXEMPTIONS)?,
            active_owner: array(ebpf, names::ACTIVE_OWNER)?,
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

    /// Adds what is on a namespace. An existing entry is newer, and stays. Returns whether there was room: a namespace without
    /// an entry is unseen.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn add_known_block(&mut self, place: NamespacePlace, block: KnownBlock) -> anyhow::Result<bool> {
        /// `BPF_NOEXIST` (include/uapi/linux/bpf.h).
        const ONLY_NEW: u64 = 1;
        match self.known_blocks.insert(Wire(place), Wire(block), ONLY_NEW) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::E2BIG) => Ok(false),
            Err(error) => Err(error).context("a known info block cannot be handed over"),
        }
    }

    /// Where the namespaces are of which something is known.
    pub fn known_places(&self) -> Vec<NamespacePlace> {
        self.known_blocks.keys().flatten().map(|Wire(place)| place).collect()
    }

    /// Makes namespaces unseen.
    pub fn forget(&mut self, places: impl IntoIterator<Item = NamespacePlace>) {
        for place in places {
            // One that is gone meanwhile is forgotten as well.
            let _ = self.known_blocks.remove(&Wire(place));
        }
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

    /// The number of the active load; 0 for none.
    pub fn owner(&self) -> anyhow::Result<u64> {
        self.active_owner.get(&0, 0).context("the map ACTIVE_OWNER cannot be read")
    }

    pub fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let slot = u32::try_from(self.number()? % u64::from(SLOTS)).unwrap_or(0);
        let snapshot = self.policies.get(&slot, 0).context("the guard's policy cannot be read")?;
        Ok(snapshot.0)
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
