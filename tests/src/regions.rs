//! The default machine's regions, emptied for each test, so that no test depends on another.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::init::GUEST_MARK;
use crate::{command, modules, sysfs};

const PINS: &str = "/sys/fs/bpf";
/// Exists once the label areas were written in this boot.
const INITIALIZED: &str = "/run/pfnwatch-labels-initialized";
/// How much of a namespace is overwritten: the first MiB holds every kind of info block.
const WIPED: usize = 1 << 20;
/// The align of namespace sizes, unless a test sets another: the kernel's own default.
const ALIGN: u64 = 16 << 20;

/// The regions by role: their numbers depend on the order of loading.
#[derive(Clone, Debug)]
pub struct Regions {
    /// The first NVDIMM's: 4 GiB at a multiple of 1 GiB.
    pub first: String,
    /// The second NVDIMM's: 6 GiB at an odd multiple of 2 MiB.
    pub second: String,
    /// The e820 range (`memmap=`): 512 MiB without labels, its one namespace without a uuid.
    pub legacy: String,
}

/// Loads the nvdimm stack if it is not loaded, destroys every namespace, and returns the regions. Refuses to run
/// anywhere but in a test guest.
pub fn fresh() -> Result<Regions> {
    empty(modules::DEFAULT_REGIONS)?;
    let regions = find()?;
    for region in [&regions.first, &regions.second] {
        sysfs::write(region, "align", &ALIGN.to_string())?;
    }
    Ok(regions)
}

pub fn fresh_one() -> Result<String> {
    empty(1)?;
    let region = sysfs::devices("region").into_iter().next().context("there is no region")?;
    sysfs::write(&region, "align", &ALIGN.to_string())?;
    Ok(region)
}

fn empty(regions: usize) -> Result<()> {
    ensure!(
        Path::new(GUEST_MARK).exists(),
        "this is no test guest: `cargo xtask vm` runs these tests, which destroy every namespace they find"
    );
    remove_pins()?;
    modules::load_regions(regions)?;
    let mut is_initialized = Path::new(INITIALIZED).exists();
    for region in sysfs::devices("region") {
        let has_labels = sysfs::number(&region, "mappings")? > 0;
        for namespace in namespaces(&region)? {
            wipe(&namespace).with_context(|| format!("cannot wipe {namespace}"))?;
            // Its label goes. Until there are labels, a region is one namespace, whose size is not to be changed.
            if has_labels && is_initialized {
                is_initialized = sysfs::write(&namespace, "size", "0").is_ok();
            }
        }
    }
    if !is_initialized {
        restart_regions(initialize_labels)?;
        return fs::write(INITIALIZED, "").with_context(|| format!("cannot write {INITIALIZED}"));
    }
    // A region forgets its seeds and starts its names from zero.
    restart_regions(|| Ok(()))?;
    if has_labels()? { restart_regions(initialize_labels) } else { Ok(()) }
}

/// Whether any label is left: each takes room of its region, even if the kernel makes no namespace of it.
fn has_labels() -> Result<bool> {
    for region in sysfs::devices("region") {
        let is_labelled = sysfs::number(&region, "mappings")? > 0;
        if is_labelled && sysfs::number(&region, "available_size")? != sysfs::number(&region, "size")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes empty label areas of ndctl's default version to all NVDIMMs: the kernel would initialize a blank one with
/// labels of another version. ndctl scans the whole bus for it, which takes longer than all else here.
fn initialize_labels() -> Result<()> {
    command::run("/bin/ndctl", &["init-labels", "-f", "all"]).map(drop)
}

/// Disables all regions, does something, and enables them.
fn restart_regions(meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let regions = sysfs::devices("region");
    for region in regions.iter().filter(|region| sysfs::driver(region).is_some()) {
        sysfs::unbind(region)?;
    }
    meanwhile()?;
    for region in &regions {
        sysfs::bind(region, "nd_region").with_context(|| format!("cannot enable {region}"))?;
    }
    regions.iter().try_for_each(|region| sysfs::wait_for_seed(region))
}

/// Removes all pins: a guard that an earlier test left behind would deny what this one makes.
fn remove_pins() -> Result<()> {
    for pinned in fs::read_dir(PINS).with_context(|| format!("cannot read {PINS}"))?.flatten() {
        let path = pinned.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Overwrites the start of a namespace, so that no later namespace at the same place finds an old info block, and
/// leaves it disabled. `ndctl destroy-namespace` does so too, and rescans the bus for each: half a minute for 64.
fn wipe(namespace: &str) -> Result<()> {
    if let Some(holder) = sysfs::holder(namespace)? {
        if sysfs::driver(&holder).is_some() {
            sysfs::unbind(&holder)?;
        }
        // An empty line lets go of the namespace.
        sysfs::write(&holder, "namespace", "\n")?;
    }
    if sysfs::driver(namespace).is_some() {
        sysfs::unbind(namespace)?;
    }
    sysfs::write(namespace, "force_raw", "1")?;
    sysfs::bind(namespace, "nd_pmem").context("not as a raw namespace")?;
    let device = format!("/dev/{}", sysfs::block_device(namespace)?);
    let pmem = File::options().write(true).open(&device).with_context(|| format!("cannot open {device}"))?;
    pmem.write_all_at(&vec![0; WIPED], 0)
        .and_then(|()| pmem.sync_all())
        .with_context(|| format!("cannot write {device}"))?;
    drop(pmem);
    sysfs::unbind(namespace)?;
    sysfs::write(namespace, "force_raw", "0")
}

pub fn find() -> Result<Regions> {
    let (mut labelled, mut legacy) = (Vec::new(), Vec::new());
    for region in sysfs::devices("region") {
        let start = sysfs::number(&region, "resource")?;
        match sysfs::number(&region, "mappings")? {
            0 => legacy.push(region),
            _ => labelled.push((start, region)),
        }
    }
    labelled.sort();
    match (labelled.as_slice(), legacy.as_slice()) {
        ([(_, first), (_, second)], [legacy]) => {
            Ok(Regions { first: first.clone(), second: second.clone(), legacy: legacy.clone() })
        }
        _ => bail!("these are not the default machine's regions: with labels {labelled:?}, without {legacy:?}"),
    }
}

/// The namespaces of a region that hold something: seeds have no size.
pub fn namespaces(region: &str) -> Result<Vec<String>> {
    let number = region.strip_prefix("region").with_context(|| format!("{region} is no region"))?;
    let all = sysfs::devices(&format!("namespace{number}."));
    Ok(all.into_iter().filter(|name| sysfs::number(name, "size").is_ok_and(|size| size > 0)).collect())
}
