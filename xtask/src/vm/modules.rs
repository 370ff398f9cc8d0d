//! The modules that guests need, out of a kernel's whole tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::Task;

/// The nvdimm stack. Where a kernel builds one of these in, or does not have it yet, there is no file, and no need.
const WANTED: [&str; 18] = [
    "libnvdimm",
    "nfit",
    "nd_btt",
    "nd_pmem",
    "nd_e820",
    "dax_pmem",
    "dax_pmem_compat",
    "device_dax",
    "fsdev_dax",
    "kmem",
    "dax_hmem",
    // For file systems on pmem or on a disk, and network devices.
    "ext4",
    "xfs",
    "loop",
    "virtio_pci",
    "virtio_blk",
    "dummy",
    // Takes any range of physical memory for itself: how a test makes a driver fail after the block is written.
    "ramoops",
];

/// Without this one there is nothing to test.
const REQUIRED: &str = "libnvdimm";

/// Where a staged kernel says which modules it was staged with.
fn list(home: &Path) -> PathBuf {
    home.join("wanted-modules")
}

/// Whether `home` was staged with the modules that are wanted today.
pub(super) fn is_staged(home: &Path) -> bool {
    fs::read_to_string(list(home)).is_ok_and(|names| names.lines().eq(WANTED))
}

/// Copies the wanted modules and what they depend on from `tree` (a folder `…/lib/modules/RELEASE`) to
/// `home/lib/modules/RELEASE`, uncompressed, and writes depmod's tables for them.
pub(super) fn stage(tree: &Path, home: &Path, release: &str) -> Result<()> {
    let available = by_name(&tree.join("kernel"))?;
    if !available.contains_key(REQUIRED) {
        bail!("kernel {release} has no module {REQUIRED}");
    }
    let to = home.join("lib/modules").join(release).join("kernel");
    fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut left: Vec<String> = WANTED.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = left.pop() {
        let copy = to.join(format!("{name}.ko"));
        let Some(source) = available.get(&name).filter(|_| !copy.exists()) else { continue };
        copy_uncompressed(source, &copy)?;
        let depends = Task::new("modinfo", ["-F".as_ref(), "depends".as_ref(), copy.as_os_str()]).read()?;
        left.extend(depends.trim().split(',').filter(|name| !name.is_empty()).map(module_name));
    }
    Task::new("depmod", ["-b".as_ref(), home.as_os_str(), release.as_ref()]).read()?;
    fs::write(list(home), WANTED.join("\n")).with_context(|| format!("cannot write to {}", home.display()))
}

/// Every module's file by the module's name.
fn by_name(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let found = Task::new("find", [dir.as_os_str(), "-name".as_ref(), "*.ko*".as_ref()]).read()?;
    let name = |path: &Path| Some(module_name(path.file_name()?.to_str()?.split_once(".ko")?.0));
    Ok(found.lines().map(PathBuf::from).filter_map(|path| Some((name(&path)?, path))).collect())
}

/// In module names `-` and `_` are the same.
fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

fn copy_uncompressed(from: &Path, to: &Path) -> Result<()> {
    let compressed = match from.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => to.with_extension("ko.xz"),
        Some("ko") => to.to_path_buf(),
        _ => bail!("{}: a module that is neither plain nor .xz", from.display()),
    };
    fs::copy(from, &compressed).with_context(|| format!("cannot copy {}", from.display()))?;
    match compressed == to {
        true => Ok(()),
        false => Task::new("xz", ["-d".as_ref(), compressed.as_os_str()]).read().map(drop),
    }
}
