//! The guard's maps: policy, known blocks, and what several loads share.

mod tables;

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::{Ebpf, Pod};
use pfnwatch_common::guard::{KnownBlock, NamespacePlace, REGION_EPOCH_SLOTS};
use pfnwatch_common::names;
use pfnwatch_common::policy::{SLOTS, Snapshot};

pub use self::tables::GuardTables;
use crate::bpf::pins::Pins;
use crate::bpf::pod::Wire;

/// The guard's maps in the kernel. They stay there without a guard as long as this lives, or as they are pinned.
pub struct GuardMaps {
    policies: Array<MapData, Wire<Snapshot>>,
    active: Array<MapData, u64>,
    module_epoch: Array<MapData, u64>,
    region_epochs: Array<MapData, u64>,
    known_blocks: HashMap<MapData, Wire<NamespacePlace>, Wire<KnownBlock>>,
    known_capacity: usize,
    one_shot_exemptions: HashMap<MapData, u64, u64>,
    active_owner: Array<MapData, u64>,
}

impl GuardMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Self::find(|name| ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}")))
    }

    /// Opens the maps of a guard that is pinned.
    ///
    /// # Errors
    /// One of them is not pinned, or cannot be opened.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        Self::find(|name| {
            let pinned = MapData::from_pin(pins.map(name)).and_then(Map::from_map_data);
            pinned.with_context(|| format!("the pinned map {name} cannot be opened"))
        })
    }

    fn find(mut map: impl FnMut(&'static str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        let known_blocks = map(names::KNOWN_BLOCKS)?;
        let known_capacity = match &known_blocks {
            Map::HashMap(data) => data.info().context("the size of the map KNOWN_BLOCKS")?.max_entries(),
            other => bail!("the map KNOWN_BLOCKS is of another kind: {other:?}"),
        };
        Ok(Self {
            known_capacity: usize::try_from(known_capacity)?,
            known_blocks: known_blocks.try_into().context("cannot use the map KNOWN_BLOCKS")?,
            policies: array(names::POLICIES, &mut map)?,
            active: array(names::ACTIVE, &mut map)?,
            module_epoch: array(names::MODULE_EPOCH, &mut map)?,
            region_epochs: array(names::REGION_EPOCHS, &mut map)?,
            one_shot_exemptions: hash(names::ONE_SHOT_EXEMPTIONS, &mut map)?,
            active_owner: array(names::ACTIVE_OWNER, &mut map)?,
        })
    }

    /// The number of the active load; 0 for none.
    pub(super) fn owner(&self) -> anyhow::Result<u64> {
        self.active_owner.get(&0, 0).context("the map ACTIVE_OWNER cannot be read")
    }

    pub(super) fn set_owner(&mut self, guard: u64) -> anyhow::Result<()> {
        self.active_owner.set(0, guard, 0).context("the programs cannot be put in charge")
    }
}

impl GuardTables for GuardMaps {
    fn module_epoch(&self) -> anyhow::Result<u64> {
        self.module_epoch.get(&0, 0).context("the map MODULE_EPOCH cannot be read")
    }

    fn region_epochs(&self) -> anyhow::Result<Vec<u64>> {
        let epochs = (0..REGION_EPOCH_SLOTS).map(|slot| self.region_epochs.get(&slot, 0));
        epochs.collect::<Result<_, _>>().context("the map REGION_EPOCHS cannot be read")
    }

    fn number(&self) -> anyhow::Result<u64> {
        self.active.get(&0, 0).context("the map ACTIVE cannot be read")
    }

    fn publish(&mut self, snapshot: &Snapshot) -> anyhow::Result<u64> {
        let number = self.number()?.wrapping_add(1);
        let slot = u32::try_from(number % u64::from(SLOTS)).unwrap_or(0);
        self.policies.set(slot, Wire(*snapshot), 0).context("the guard's policy cannot be written")?;
        self.active.set(0, number, 0).context("the guard's policy cannot be put in force")?;
        Ok(number)
    }

    fn add_known_block(&mut self, place: NamespacePlace, block: KnownBlock) -> anyhow::Result<bool> {
        /// `BPF_NOEXIST` (include/uapi/linux/bpf.h).
        const ONLY_NEW: u64 = 1;
        match self.known_blocks.insert(Wire(place), Wire(block), ONLY_NEW) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::E2BIG) => Ok(false),
            Err(error) => Err(error).context("a known info block cannot be handed over"),
        }
    }

    fn known_capacity(&self) -> usize {
        self.known_capacity
    }

    fn known_blocks(&self) -> BTreeMap<NamespacePlace, KnownBlock> {
        self.known_blocks.iter().flatten().map(|(Wire(place), Wire(block))| (place, block)).collect()
    }

    fn forget(&mut self, places: Vec<NamespacePlace>) {
        for place in places {
            // One that is gone meanwhile is forgotten as well.
            let _ = self.known_blocks.remove(&Wire(place));
        }
    }

    fn create_ticket(&mut self, id: u64) -> anyhow::Result<()> {
        self.one_shot_exemptions
            .insert(id, id, 0)
            .context("the guard has no room for another exemption for one creation")
    }

    fn remove_ticket(&mut self, id: u64) -> bool {
        self.one_shot_exemptions.remove(&id).is_ok()
    }

    fn is_unspent(&self, id: u64) -> bool {
        self.one_shot_exemptions.get(&id, 0).is_ok()
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let slot = u32::try_from(self.number()? % u64::from(SLOTS)).unwrap_or(0);
        let snapshot = self.policies.get(&slot, 0).context("the guard's policy cannot be read")?;
        Ok(snapshot.0)
    }
}

fn array<T: Pod>(
    name: &'static str,
    map: &mut impl FnMut(&'static str) -> anyhow::Result<Map>,
) -> anyhow::Result<Array<MapData, T>> {
    map(name)?.try_into().with_context(|| format!("cannot use the map {name}"))
}

fn hash<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut impl FnMut(&'static str) -> anyhow::Result<Map>,
) -> anyhow::Result<HashMap<MapData, K, V>> {
    map(name)?.try_into().with_context(|| format!("cannot use the map {name}"))
}
