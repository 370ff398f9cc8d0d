//! Where a guard that holds on without an agent is kept: below the BPF file system.
//!
//! ```text
//! /sys/fs/bpf/pfnwatch/v5/maps/KNOWN_BLOCKS …    the version is that of the maps, see `PIN_VERSION`
//!                        /links-GUARD_ID/guard …  one folder for each load of the programs; two while one takes over
//! ```

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;
use aya::maps::MapInfo;
use aya::programs::links::{FdLink, PinnedLink};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use pfnwatch_common::guard::PIN_VERSION;
use pfnwatch_common::names;

/// Where the pins are, unless this is a test.
pub const ROOT: &str = "/sys/fs/bpf/pfnwatch";

/// The maps that every load of the programs shares with the one before it.
pub const SHARED: [&str; 13] = [
    names::RECORDS,
    names::COUNTERS,
    names::ATTEMPTS,
    names::POLICIES,
    names::ACTIVE,
    names::MODULE_EPOCH,
    names::REGION_EPOCHS,
    names::KNOWN_BLOCKS,
    names::WRITTEN_UUIDS,
    names::UUID_STORES,
    names::ONE_SHOT_EXEMPTIONS,
    names::ACTIVE_OWNER,
    names::PASSED_NODES,
];

#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// Sizes of pinned maps, which every load that shares them must use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedSizes {
    pub ring_bytes: u32,
    pub known_blocks: u32,
}

impl Pins {
    #[must_use]
    pub fn system() -> Self {
        Self { root: PathBuf::from(ROOT) }
    }

    pub fn prepare(&self) -> anyhow::Result<()> {
        let parent = self.root.parent().unwrap_or(&self.root);
        let mounted = statfs(parent).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
        anyhow::ensure!(
            mounted,
            "there is no BPF file system at {}, where a pinned guard is kept: `mount -t bpf bpf {0}`",
            parent.display()
        );
        fs::create_dir_all(self.maps()).with_context(|| format!("{} cannot be made", self.maps().display()))
    }

    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Whether a guard with compatible maps is pinned; the sizes of its maps.
    #[must_use]
    pub fn pinned(&self) -> Option<PinnedSizes> {
        let size = |name: &str| Some(MapInfo::from_pin(self.map(name)).ok()?.max_entries());
        Some(PinnedSizes { ring_bytes: size(names::RECORDS)?, known_blocks: size(names::KNOWN_BLOCKS)? })
    }

    /// Pins the links of a load.
    ///
    /// # Errors
    /// If one cannot be pinned, none is.
    pub fn pin(&self, links: Vec<(&'static str, FdLink)>, guard: u64) -> anyhow::Result<Vec<FdLink>> {
        let folder = self.load(guard);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let pin = |(name, link): (&str, FdLink)| {
            let pinned = link.pin(folder.join(name)).with_context(|| format!("program {name} cannot be pinned"))?;
            Ok(FdLink::from(pinned))
        };
        let pinned = links.into_iter().map(pin).collect::<anyhow::Result<Vec<_>>>();
        pinned.inspect_err(|_| drop(fs::remove_dir_all(&folder)))
    }

    /// Removes the links of every other load that shares its maps: the kernel detaches those programs.
    pub fn remove_all_but(&self, guard: u64) -> anyhow::Result<()> {
        let own = [self.load(guard), self.maps()];
        folders(&self.version())?.iter().filter(|folder| !own.contains(folder)).try_for_each(|folder| remove(folder))
    }

    /// Removes the guard of another version, which shares no map with this one; call it only once this one judges.
    pub fn remove_other_versions(&self) -> anyhow::Result<()> {
        let own = self.version();
        folders(&self.root)?.iter().filter(|folder| **folder != own).try_for_each(|folder| remove(folder))
    }

    pub fn remove_this_version(&self) -> anyhow::Result<()> {
        remove(&self.version())
    }

    /// The pinned programs, as paths; empty after they were removed by hand, or without the file system.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let own = self.maps();
        let loads = folders(&self.version()).unwrap_or_default().into_iter().filter(|folder| *folder != own);
        let entries = loads.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let mut pins: Vec<_> = entries.map(|entry| entry.path().display().to_string()).collect();
        pins.sort_unstable();
        pins
    }

    /// The programs that pinned links keep attached, of every version, as the kernel numbers them.
    pub fn programs(&self) -> anyhow::Result<Vec<u32>> {
        let mut pins = Vec::new();
        collect(&self.root, &mut pins)
            .with_context(|| format!("the pins below {} cannot be read (it needs root)", self.root.display()))?;
        pins.retain(|pin| !is_map(pin));
        // What is no link keeps nothing attached.
        let program = |pin: PathBuf| Some(FdLink::from(PinnedLink::from_pin(pin).ok()?).info().ok()?.program_id());
        Ok(pins.into_iter().filter_map(program).collect())
    }

    /// Removes everything. Returns the paths that were removed.
    pub fn remove(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut pins = Vec::new();
        collect(&self.root, &mut pins)
            .with_context(|| format!("the pins below {} cannot be read (it needs root)", self.root.display()))?;
        // The links first: a program never finds its maps gone, and what is left after an error can be removed again.
        pins.sort_by_key(|pin| is_map(pin));
        for pin in &pins {
            fs::remove_file(pin).with_context(|| format!("the pin {} cannot be removed", pin.display()))?;
        }
        remove(&self.root)?;
        Ok(pins)
    }

    fn version(&self) -> PathBuf {
        self.root.join(format!("v{PIN_VERSION}"))
    }

    fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    fn load(&self, guard: u64) -> PathBuf {
        self.version().join(format!("links-{guard}"))
    }
}

fn is_map(pin: &Path) -> bool {
    pin.parent().is_some_and(|folder| folder.ends_with("maps"))
}

/// Removes a folder and its contents; one that does not exist is no error.
fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Empty if the folder does not exist.
fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{} cannot be read", folder.display()))?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// Empty if the folder does not exist.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { collect(&path, into)? } else { into.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pins_go_and_nothing_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins { root: folder.path().join("pfnwatch") };
        assert_eq!(pins.remove().unwrap(), Vec::<PathBuf>::new());
        for pin in ["v1/maps/POLICIES", "v1/links-7/guard"] {
            let path = pins.root.join(pin);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let removed = pins.remove().unwrap();
        assert_eq!(removed, ["v1/links-7/guard", "v1/maps/POLICIES"].map(|pin| pins.root.join(pin)), "links first");
        assert!(!pins.root.exists());
    }

    #[test]
    fn one_load_stays_and_other_versions_go_later() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins { root: folder.path().join("pfnwatch") };
        for kept in ["maps", "links-7", "links-8"] {
            fs::create_dir_all(pins.version().join(kept)).unwrap();
        }
        fs::create_dir_all(pins.root.join("v0/links-1")).unwrap();
        pins.remove_all_but(8).unwrap();
        assert!(pins.root.join("v0/links-1").exists(), "it may still be the only one that judges");
        pins.remove_other_versions().unwrap();
        assert_eq!(folders(&pins.root).unwrap(), [pins.version()]);
        assert!(pins.version().join("maps").exists() && pins.load(8).exists() && !pins.load(7).exists());
    }

    #[test]
    fn a_folder_that_is_no_bpf_file_system_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = Pins { root: folder.path().join("pfnwatch") }.prepare().unwrap_err().to_string();
        assert!(error.contains("mount -t bpf"), "{error}");
    }
}
