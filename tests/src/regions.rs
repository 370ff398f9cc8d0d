//! The usual machine's regions, emptied for each test, so that no test depends on another.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::init::GUEST_MARK;
use crate::{command, modules, sysfs};

/// The BPF file system.
const PINS: &str = "/sys/fs/bpf";
/// How much of a namespace is overwritten: the first MiB holds every kind of info block.
const WIPED: usize = 1 << 20;
/// What sizes of namespaces must be multiples of, unless a test wants it otherwise: the kernel's own default.
const ALIGN: u64 = 16 << 20;

/// The regions by what they are: their numbers depend on the order of loading.
#[derive(Clone, Debug)]
pub struct Regions {
    /// The first NVDIMM's: 4 GiB at a multiple of 1 GiB.
    pub first: String,
    /// The second NVDIMM's: 6 GiB at an odd multiple of 2 MiB.
    pub second: String,
    /// The e820 range (`memmap=`): 512 MiB without labels, its one namespace without a uuid.
    pub legacy: String,
}

/// Loads the nvdimm stack where it is not loaded, destroys every namespace, makes the labels blank, and returns the
/// regions. Refuses to run anywhere but in a test guest.
pub fn fresh() -> Result<Regions> {
    empty(modules::DEFAULT_REGIONS)?;
    let regions = find()?;
    for region in [&regions.first, &regions.second] {
        sysfs::write(region, "align", &ALIGN.to_string())?;
    }
    Ok(regions)
}

/// The same for a machine with one NVDIMM: returns its region.
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
    for region in sysfs::devices("region") {
        for namespace in namespaces(&region)? {
            wipe(&namespace).with_context(|| format!("cannot wipe {namespace}"))?;
        }
    }
    blank_labels()
}

/// Makes the labels of all NVDIMMs blank, while their regions are down. ndctl could do all of it, and takes its time to look
/// at the whole bus for each step.
fn blank_labels() -> Result<()> {
    let regions = sysfs::devices("region");
    for region in regions.iter().filter(|region| sysfs::driver(region).is_some()) {
        sysfs::unbind(region)?;
    }
    command::run("/bin/ndctl", &["init-labels", "-f", "all"])?;
    for region in &regions {
        sysfs::bind(region, "nd_region").with_context(|| format!("cannot enable {region}"))?;
    }
    regions.iter().try_for_each(|region| sysfs::wait_for_seed(region))
}

/// Removes whatever is pinned: a guard that a test before this one left behind would deny what this one makes.
fn remove_pins() -> Result<()> {
    for pinned in fs::read_dir(PINS).with_context(|| format!("cannot read {PINS}"))?.flatten() {
        let path = pinned.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Overwrites what a namespace begins with, so that no later namespace at the same place finds an old info block, and
/// leaves it disabled. `ndctl destroy-namespace` does as much, and rescans the bus for each: half a minute for 64.
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

/// The regions as they are, told apart by what has labels and where it starts.
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
        _ => bail!("these are not the usual machine's regions: with labels {labelled:?}, without {legacy:?}"),
    }
}

/// The namespaces of a region that hold something: seeds have no size.
pub fn namespaces(region: &str) -> Result<Vec<String>> {
    let number = region.strip_prefix("region").with_context(|| format!("{region} is no region"))?;
    let all = sysfs::devices(&format!("namespace{number}."));
    Ok(all.into_iter().filter(|name| sysfs::number(name, "size").is_ok_and(|size| size > 0)).collect())
}
