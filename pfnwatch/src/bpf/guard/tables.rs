//! What the agent's side of the guard needs of the guard's maps. The agent's unit tests have their own.

use pfnwatch_common::policy::Snapshot;

/// The guard's maps, wherever they are.
pub trait GuardTables {
    /// How often libnvdimm was loaded or unloaded since the maps were made.
    fn module_epoch(&self) -> anyhow::Result<u64>;

    fn number(&self) -> anyhow::Result<u64>;

    /// Publishes a snapshot, which the guard uses once this returns. Returns its number.
    ///
    /// # Errors
    /// If the kernel refuses the update, the previous snapshot stays in force.
    fn publish(&mut self, snapshot: &Snapshot) -> anyhow::Result<u64>;

    /// Adds a valid info block. An existing entry is newer, and stays.
    ///
    /// # Errors
    /// If the map is full, creations on that namespace would be judged as if there were no block.
    fn add_known_block(&mut self, start: u64, block_uuid: [u8; 16]) -> anyhow::Result<()>;

    fn is_unknown(&self, start: u64) -> bool;

    fn clear_unknown(&mut self, start: u64) -> anyhow::Result<()>;

    fn create_ticket(&mut self, id: u64) -> anyhow::Result<()>;

    /// False if it was already spent.
    fn remove_ticket(&mut self, id: u64) -> bool;

    fn is_unspent(&self, id: u64) -> bool;

    fn snapshot(&self) -> anyhow::Result<Snapshot>;

    /// Removes all info blocks: they belong to another libnvdimm.
    fn forget_blocks(&mut self) -> anyhow::Result<()>;
}
