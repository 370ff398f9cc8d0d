//! Loads and unloads the kernel's nvdimm stack, whole or by the piece.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{command, sysfs, wait};

/// The whole stack, each module after those that it needs; nfit before nd_e820, so that the NVDIMMs' regions come
/// first. dax_pmem_compat is 5.10's.
const STACK: [&str; 9] =
    ["libnvdimm", "nd_btt", "nd_pmem", "device_dax", "dax_pmem", "dax_pmem_compat", "kmem", "nfit", "nd_e820"];

/// The order of unloading: before each module those that use it. dax_pmem_core is 5.10's.
const UNLOAD: [&str; 10] = [
    "nd_e820",
    "nfit",
    "kmem",
    "dax_pmem_compat",
    "dax_pmem",
    "dax_pmem_core",
    "device_dax",
    "nd_pmem",
    "nd_btt",
    "libnvdimm",
];

/// The default machine's regions: two NVDIMMs and the e820 range.
pub const DEFAULT_REGIONS: usize = 3;
const REGIONS_TIMEOUT: Duration = Duration::from_secs(30);

pub fn loaded(name: &str) -> bool {
    let list = fs::read_to_string("/proc/modules").unwrap_or_default();
    list.lines().any(|line| line.split(' ').next() == Some(name))
}

pub fn load(name: &str) -> Result<()> {
    command::run("/sbin/modprobe", &[name]).map(drop)
}

pub fn unload(name: &str) -> Result<()> {
    command::run("/sbin/rmmod", &[name]).map(drop)
}

/// Loads the whole stack, and waits for the default machine's regions.
pub fn load_stack() -> Result<()> {
    load_regions(DEFAULT_REGIONS)
}

pub fn load_regions(regions: usize) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let files = Path::new("/lib/modules").join(release.trim()).join("kernel");
    // Most tests find all of it loaded: modprobe would take its time nine times to see that.
    for name in STACK.iter().filter(|name| !loaded(name) && files.join(format!("{name}.ko")).exists()) {
        load(name)?;
    }
    wait::until("the regions of the machine", REGIONS_TIMEOUT, || (regions_ready() == regions).then_some(()))
}

/// Regions that have a driver: the others cannot make a namespace yet.
fn regions_ready() -> usize {
    sysfs::devices("region").iter().filter(|region| sysfs::driver(region).is_some()).count()
}

/// Makes the machine's other libnvdimm the one to be loaded: the kernel's own instead of the rebuilt one, or vice
/// versa. For a machine with two, while none is loaded.
pub fn exchange_libnvdimm() -> Result<()> {
    ensure!(!loaded("libnvdimm"), "libnvdimm is loaded");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let files = Path::new("/lib/modules").join(release.trim());
    let (used, other) = (files.join("kernel/libnvdimm.ko"), files.join("other/libnvdimm.ko"));
    let aside = files.join("libnvdimm.ko");
    for (from, to) in [(&used, &aside), (&other, &used), (&aside, &other)] {
        fs::rename(from, to)?;
    }
    Ok(())
}

/// Unloads the loaded part of the stack. Namespaces go down with it, and come back when it is loaded again.
pub fn unload_stack() -> Result<()> {
    // A bound device holds a reference on its bus's module (nvdimm_bus_probe in drivers/nvdimm/bus.c). A region takes
    // its namespaces with it.
    for device in ["region", "nmem"].iter().flat_map(|kind| sysfs::devices(kind)) {
        if sysfs::driver(&device).is_some() {
            sysfs::unbind(&device)?;
        }
    }
    for name in UNLOAD.iter().filter(|name| loaded(name)) {
        unload(name)?;
    }
    ensure!(!loaded("libnvdimm"), "libnvdimm is still loaded");
    Ok(())
}

/// A module's file, out of the way for as long as this lives.
pub struct HiddenFile {
    file: PathBuf,
    aside: PathBuf,
}

impl HiddenFile {
    pub fn hide(name: &str) -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let files = Path::new("/lib/modules").join(release.trim());
        let (file, aside) = (files.join(format!("kernel/{name}.ko")), files.join(format!("{name}.ko.hidden")));
        fs::rename(&file, &aside).with_context(|| format!("cannot move {}", file.display()))?;
        Ok(Self { file, aside })
    }
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        // Without it the next test that loads the module fails.
        let _ = fs::rename(&self.aside, &self.file);
    }
}

pub fn references(module: &str) -> Result<u64> {
    let file = format!("/sys/module/{module}/refcnt");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    text.trim().parse().with_context(|| format!("{file}: {text}"))
}
