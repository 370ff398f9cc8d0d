//! Where a kernel's files lie, in an installed tree and in a package alike.

use std::path::{Path, PathBuf};
use std::{fs, io};

const MODULE_FOLDER: &str = "kernel/drivers/nvdimm";
const MODULES: [&str; 4] = ["libnvdimm.ko", "libnvdimm.ko.xz", "libnvdimm.ko.zst", "libnvdimm.ko.gz"];
const BUILTIN_LIST: &str = "modules.builtin";

pub(super) fn is_wanted(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let debug = path.contains("/debug/");
    !debug && (MODULES.contains(&name) || name == BUILTIN_LIST || name == "vmlinuz" || name.starts_with("vmlinuz-"))
}

/// The release of a file in a package, as `lib/modules/V/…` or `usr/lib/modules/V/…`.
pub(super) fn release(path: &str) -> Option<&str> {
    let below = path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/modules/")?;
    below.split_once('/').map(|(release, _)| release)
}

/// The release whose list of built-in modules `path` is: the folder's name.
pub(super) fn release_of_builtin_list(path: &Path) -> Option<String> {
    let is_list = path.file_name().is_some_and(|name| name == BUILTIN_LIST);
    let release = path.parent()?.file_name()?;
    is_list.then(|| release.to_string_lossy().into_owned())
}

/// The files of the kernels under `folder`: `/lib/modules/V` with the image of the same release, or a root with any
/// number of kernels (`/`, or an unpacked package).
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let of_release = of_release(folder);
    if !of_release.is_empty() {
        let image = if of_release.iter().any(|file| file.ends_with("vmlinuz")) { None } else { boot_image(folder) };
        return Ok(of_release.into_iter().chain(image).collect());
    }
    let mut files = Vec::new();
    for modules in ["usr/lib/modules", "lib/modules"] {
        // On a merged /usr both are one folder.
        let merged = modules == "lib/modules" && folder.join("lib").is_symlink();
        if !merged {
            files.extend(listed(&folder.join(modules))?.iter().flat_map(|release| self::of_release(release)));
        }
    }
    let images = listed(&folder.join("boot"))?;
    files.extend(images.into_iter().filter(|file| name(file).starts_with("vmlinuz-")));
    Ok(files)
}

/// The libnvdimm of a folder `/lib/modules/V`: the one that modprobe would load (`updates/` before `kernel/`), else, if
/// depmod did not run, the one at its default path.
pub(super) fn module(folder: &Path) -> Option<PathBuf> {
    let usual = MODULES.iter().map(|name| folder.join(MODULE_FOLDER).join(name));
    find_by_depmod(folder).into_iter().chain(usual).find(|path| path.is_file())
}

/// The path of libnvdimm in modules.dep, whose lines are `kernel/a/b.ko.xz: modules that it needs`.
fn find_by_depmod(folder: &Path) -> Option<PathBuf> {
    let list = fs::read_to_string(folder.join("modules.dep")).ok()?;
    let mut paths = list.lines().filter_map(|line| line.split_once(':')).map(|(path, _)| path);
    paths.find(|path| MODULES.contains(&name(Path::new(path)).as_str())).map(|path| folder.join(path))
}

fn of_release(folder: &Path) -> Vec<PathBuf> {
    let module = module(folder);
    let others = ["vmlinuz", BUILTIN_LIST].map(|name| folder.join(name)).into_iter().filter(|path| path.is_file());
    module.into_iter().chain(others).collect()
}

/// `/boot/vmlinuz-V` beside `/lib/modules/V` or `/usr/lib/modules/V`.
fn boot_image(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let image = format!("boot/vmlinuz-{}", name(&folder));
    folder.ancestors().skip(3).take(2).map(|root| root.join(&image)).find(|path| path.is_file())
}

/// Sorted; empty if the folder does not exist.
fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
