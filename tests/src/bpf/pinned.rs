//! What an agent with `on_agent_exit = "hold"` has pinned.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};

pub const PINS: &str = "/sys/fs/bpf/pfnwatch/v4";

/// A guard that stays attached as long as this lives, even without its pins.
pub struct PinnedObjects(#[expect(dead_code, reason = "it holds the link")] FdLink);

impl PinnedObjects {
    /// Opens the guard of the only load of the programs that is pinned.
    pub fn guard() -> Result<Self> {
        let pin = only()?.0.join("guard");
        let link = PinnedLink::from_pin(&pin).with_context(|| format!("cannot open {}", pin.display()))?;
        Ok(Self(link.into()))
    }
}

/// The number of the only load of the programs that is pinned.
pub fn load() -> Result<u64> {
    only().map(|(_, number)| number)
}

fn only() -> Result<(PathBuf, u64)> {
    let entries = fs::read_dir(PINS).with_context(|| format!("cannot read {PINS}"))?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("links-")?.parse().ok();
    let numbered = |path: PathBuf| number(&path).map(|number| (path, number));
    let found: Vec<_> = entries.filter_map(|entry| numbered(entry.path())).collect();
    match <[_; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(found) => bail!("not one load of the programs is pinned: {found:?}"),
    }
}

pub struct OwnerMap(Array<MapData, u64>);

impl OwnerMap {
    pub fn open() -> Result<Self> {
        let map = MapData::from_pin(format!("{PINS}/maps/ACTIVE_OWNER")).context("cannot open the pin of the map")?;
        Ok(Self(Map::Array(map).try_into().context("it is another map")?))
    }

    pub fn set(&mut self, load: u64) -> Result<()> {
        self.0.set(0, load, 0).context("the charge cannot be changed")
    }
}
