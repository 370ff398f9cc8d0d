//! What the agent's side of the guard needs of the guard's maps. The agent's unit tests have their own.

use std::collections::BTreeMap;

use pfnwatch_common::guard::{KnownBlock, NamespacePlace};
use pfnwatch_common::policy::Snapshot;

/// The guard's maps, wherever they are.
pub trait GuardTables {
    /// How often libnvdimm was loaded or unloaded since the maps were made.
    fn module_epoch(&self) -> anyhow::Result<u64>;

    /// How often a region was enabled, by [`NamespacePlace::epoch_slot`].
    fn region_epochs(&self) -> anyhow::Result<Vec<u64>>;

    fn number(&self) -> anyhow::Result<u64>;

    /// Publishes a snapshot, which the guard uses once this returns. Returns its number.
    ///
    /// # Errors
    /// If the kernel refuses the update, the previous snapshot stays in force.
    fn publish(&mut self, snapshot: &Snapshot) -> anyhow::Result<u64>;

    /// Adds what is on a namespace. An existing entry is newer, and stays. Returns whether there was room: a namespace without
    /// an entry is unseen.
    ///
    /// # Errors
    /// The map cannot be written.
    fn add_known_block(&mut self, place: NamespacePlace, block: KnownBlock) -> anyhow::Result<bool>;

    /// Of how many namespaces something can be known at once.
    fn known_capacity(&self) -> usize;

    /// What is known of which namespaces.
    fn known_blocks(&self) -> BTreeMap<NamespacePlace, KnownBlock>;

    /// Makes namespaces unseen.
    fn forget(&mut self, places: Vec<NamespacePlace>);

    fn create_ticket(&mut self, id: u64) -> anyhow::Result<()>;

    /// False if it was already spent.
    fn remove_ticket(&mut self, id: u64) -> bool;

    fn is_unspent(&self, id: u64) -> bool;

    fn snapshot(&self) -> anyhow::Result<Snapshot>;
}
