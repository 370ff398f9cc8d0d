//! A sysfs, as text: `nd/devices/namespace0.0/size=4096` is an attribute, `nd/devices/pfn0.1/driver->nd_pmem` a link, and
//! what ends with a slash a folder, all below `bus`. What begins with `proc/` or `block/` lies beside it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use pfnwatch::model::inventory::{InfoBlocks, Inventory};
use pfnwatch::model::kernel::KernelFacts;
use pfnwatch::model::scan_result::ScanResult;
use pfnwatch::model::thresholds::Thresholds;
use pfnwatch::model::verdict::Verdict;
use pfnwatch::sysfs::inventory::SysfsRoots;
use pfnwatch::sysfs::inventory::usage::Usage;

use crate::scratch;

/// More than two namespaces with their regions and holders have.
const MAX_LINES: usize = 100;

/// Whatever sysfs contains, each namespace gets a verdict, and no sum is larger than its parts allow.
pub fn check(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir_in(scratch()) else { return };
    for line in bytes.split(|&byte| byte == b'\n').take(MAX_LINES) {
        // A name that is taken, or too long: the line is left out.
        let _ = make(folder.path(), line);
    }
    let root = folder.path().to_owned();
    let roots = SysfsRoots { procfs: root.join("proc"), sysfs: root, dev: None };
    let Ok(inventory) = Inventory::read(&roots) else {
        return;
    };
    let usage = Usage::gather(&roots);
    let kernel = KernelFacts {
        release: "6.12.0".to_owned(),
        page_size: 4096,
        struct_page_size: Some(64),
        deduplicates: Some(true),
        may_lose_memmap: false,
        allows_empty: None,
        aligns: None,
    };
    let scan = ScanResult::assess(inventory, &InfoBlocks::default(), kernel, &Thresholds::default());
    for judged in &scan.namespaces {
        let users = usage.of(&judged.namespace);
        assert!(users.iter().all(|user| !user.command.is_empty()), "no command ends a use: {users:?}");
        let oversize = judged.assessment.verdict == Verdict::Oversize;
        assert!(!oversize || scan.verdict == Verdict::Oversize, "{judged:?} is missing from the verdict of the host");
    }
}

fn make(root: &Path, line: &[u8]) -> io::Result<()> {
    let split = |mark: &[u8]| {
        let at = line.windows(mark.len()).position(|window| window == mark)?;
        Some((line.get(..at)?, line.get(at + mark.len()..)?))
    };
    if let Some((path, content)) = split(b"=") {
        let path = below(root, path)?;
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        return fs::write(path, content);
    }
    if let Some((path, target)) = split(b"->") {
        let path = below(root, path)?;
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        // Only the target's last part is read; it leads nowhere, as the driver's folder would be no concern of ours.
        return symlink(Path::new("nowhere").join(text(target)?.replace(['/', '.'], "_")), path);
    }
    fs::create_dir_all(below(root, line)?)
}

/// A path of plain names, so that nothing is made outside.
fn below(root: &Path, path: &[u8]) -> io::Result<PathBuf> {
    let path = text(path)?;
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
    let names = path.trim_end_matches('/').split('/');
    let is_beside = ["proc", "block"].contains(&names.clone().next().unwrap_or_default());
    let root = if is_beside { root.to_owned() } else { root.join("bus") };
    if names.clone().all(plain) { Ok(root.join(path)) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    str::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}
