//! The memory with a memmap of its own on this host from sysfs, with or without root, with or without eBPF.
//!
//! Every file is read once, relative to its device's open directory. An unreadable or malformed value is a typed
//! [`AttributeError`](crate::model::inventory::AttributeError): [`facts`] turns that into an obstacle, so that it ends as
//! `unknown` with its reason.

mod attribute;
pub mod device;
pub mod facts;
mod media;
mod namespace;
mod region;
pub mod usage;

use crate::model::device::MemoryDevice;
use crate::model::inventory::Inventory;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use anyhow::Context as _;

use crate::model::inventory::{InfoBlocks, Namespace, Region};

use self::attribute::Directory;
use super::busy::{self, Reads};
use crate::os::paths::Paths;

/// Below this many devices a second thread costs more than it saves.
const MIN_DEVICES_PER_THREAD: usize = 128;

#[derive(Clone, Debug)]
pub struct SysfsRoots {
    pub sysfs: PathBuf,
    pub procfs: PathBuf,
    /// `None` if sysfs is not this host's own, so that no device is taken for another's.
    pub dev: Option<PathBuf>,
}

impl From<&Paths> for SysfsRoots {
    fn from(paths: &Paths) -> Self {
        let own = paths.sysfs == Path::new("/sys");
        let dev = own.then(|| PathBuf::from("/dev"));
        Self { sysfs: paths.sysfs.clone(), procfs: paths.procfs.clone(), dev }
    }
}

impl Inventory {
    /// A host without libnvdimm has no regions and namespaces. A device that is being bound has [`Busy`](crate::model::inventory::AttributeError::Busy) where its
    /// attributes would wait.
    ///
    /// # Errors
    /// The list of devices cannot be read, or too many devices are being bound.
    pub fn read(roots: &SysfsRoots) -> anyhow::Result<Self> {
        let roots = roots.clone();
        busy::read_around_binds(move |reads| Self::read_watched(&roots, reads)).context("reading sysfs")?
    }

    fn read_watched(roots: &SysfsRoots, reads: &Arc<Reads>) -> anyhow::Result<Self> {
        let dax = Bus::open(&roots.sysfs.join("bus/dax/devices"), reads)?;
        let mut inventory = Self::default();
        if let Some(Bus { names, devices }) = Bus::open(&roots.sysfs.join("bus/nd/devices"), reads)? {
            let regions = numbered(&names, "region").into_iter();
            inventory.regions = regions.filter_map(|name| Region::read(&devices, name)).collect();
            let dax = dax.as_ref().map(|bus| &bus.devices);
            let read = |name: &str| Namespace::read(&devices, dax, name);
            inventory.namespaces = read_all(&numbered(&names, "namespace"), read);
        }
        if let Some(Bus { names, devices }) = dax {
            let owned = device::owned(&inventory.namespaces);
            let memory = device::Memory::open(&roots.sysfs);
            inventory.hotplug = memory.hotplug(&roots.sysfs);
            let names: Vec<_> = numbered(&names, "dax").into_iter().filter(|name| !owned.contains(*name)).collect();
            let cxl = Directory::open_watched(&roots.sysfs.join("bus/cxl/devices"), reads).ok();
            inventory.devices = read_all(&names, |name| MemoryDevice::read(&devices, &memory, cxl.as_ref(), name));
        }
        Ok(inventory)
    }

    /// The region and the first address of each namespace. Reads nothing that a bind can hold up: `resource_show` takes no lock
    /// (drivers/nvdimm/namespace_devs.c).
    ///
    /// # Errors
    /// The devices cannot be listed.
    pub fn namespace_places(roots: &SysfsRoots) -> io::Result<Vec<(String, u64)>> {
        let root = roots.sysfs.join("bus/nd/devices");
        let place = |name: &String| {
            let (region, _) = name.strip_prefix("namespace")?.split_once('.')?;
            let text = std::fs::read_to_string(root.join(name).join("resource")).ok()?;
            let start = u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()?;
            Some((format!("region{region}"), start))
        };
        Ok(list(&root)?.iter().filter_map(place).collect())
    }

    /// Reads the info blocks of namespaces that are enabled raw from their devices, if permitted: those under a pfn or
    /// dax device are not visible there.
    #[must_use]
    pub fn blocks_on_raw_devices(&self, roots: &SysfsRoots) -> InfoBlocks {
        let Some(dev) = &roots.dev else { return InfoBlocks::default() };
        let raw = self.namespaces.iter().filter(|namespace| namespace.is_raw());
        let blocks: BTreeMap<_, _> = raw
            .filter_map(|namespace| Some((namespace.name.clone(), media::read_block(dev, &namespace.disk()?)?)))
            .collect();
        InfoBlocks::from(blocks)
    }
}

/// The devices of a bus.
struct Bus {
    names: Vec<String>,
    devices: Directory,
}

impl Bus {
    /// `None` if the kernel has no such bus.
    fn open(root: &Path, reads: &Arc<Reads>) -> anyhow::Result<Option<Self>> {
        let names = match list(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => names.with_context(|| format!("reading {}", root.display()))?,
        };
        let devices =
            Directory::open_watched(root, reads).map_err(|why| anyhow::anyhow!("{}: {why}", root.display()))?;
        Ok(Some(Self { names, devices }))
    }
}

/// All names in a directory, unsorted; names that are not UTF-8 are none of ours, and skipped.
fn list(root: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(root)?;
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// The names that are `prefix` and one or two numbers, sorted by these.
fn numbered<'a>(names: &'a [String], prefix: &str) -> Vec<&'a str> {
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((numbers(name.strip_prefix(prefix)?)?, name.as_str()))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// `3` or `3.14`.
fn numbers(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once('.') {
        Some((region, id)) => Some((region.parse().ok()?, Some(id.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// Reads all devices of a kind, on several cores if there are many.
fn read_all<T: Send>(names: &[&str], read_one: impl Fn(&str) -> Option<T> + Sync) -> Vec<T> {
    let read = |names: &[&str]| -> Vec<T> { names.iter().filter_map(|name| read_one(name)).collect() };
    let threads =
        thread::available_parallelism().map_or(1, usize::from).min(names.len() / MIN_DEVICES_PER_THREAD).max(1);
    if threads == 1 {
        return read(names);
    }
    thread::scope(|scope| {
        let chunks = names.chunks(names.len().div_ceil(threads));
        let read = &read;
        let start = |chunk| thread::Builder::new().spawn_scoped(scope, move || read(chunk));
        let running: Vec<_> = chunks.map(|chunk| (chunk, start(chunk))).collect();
        // Where no thread can be had, or one ended badly (no code path does), its share is read here, rather than left out.
        let share = |(chunk, thread): (_, io::Result<ScopedJoinHandle<'_, Vec<T>>>)| {
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| read(chunk))
        };
        running.into_iter().flat_map(share).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree::Tree;

    #[test]
    fn a_place_is_a_region_and_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.write("namespace0.0", &[("resource", "0x100000000")]).unwrap();
        tree.write("namespace12.3", &[("resource", "0x180000000")]).unwrap();
        // A seed has none, and other devices are no namespaces.
        tree.write("namespace0.1", &[("size", "0")]).unwrap();
        tree.region(0, 4 << 30, 64 << 30).unwrap();
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: "/proc".into(), dev: None };
        let mut places = Inventory::namespace_places(&roots).unwrap();
        places.sort();
        assert_eq!(places, [("region0".to_owned(), 4 << 30), ("region12".to_owned(), 6 << 30)]);
        assert!(Inventory::namespace_places(&SysfsRoots { sysfs: "/none".into(), ..roots }).is_err());
    }
}
