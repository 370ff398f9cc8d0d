//! A disk for guests that are booted one after the other: what is too large for their initramfs, and room for what persists
//! from one boot to the next.

use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::peers;
use crate::process::Task;

/// Room for the programs, event stores and the like. The file is sparse.
const SIZE: &str = "768M";
/// Places the files as guests expect them (`guest::disk`): `$1` the folder, `$2` Prometheus, `$3` Alertmanager's package.
const STAGE: &str = include_str!("fill-disk.sh");

/// Makes the disk: an ext4 with Prometheus and Alertmanager of Debian's packages.
pub(super) fn make(image: &Path) -> Result<()> {
    let tree = image.with_extension("tree");
    let _ = fs::remove_dir_all(&tree);
    let places = [tree.clone(), peers::prometheus()?.join("prometheus"), peers::alertmanager_package()?];
    Task::script(STAGE, places).read()?;
    ext4(&[], &tree, image, SIZE)?;
    Ok(fs::remove_dir_all(&tree)?)
}

/// Makes an image of a folder, without being root: in a user namespace of its own all files are root's.
pub(super) fn ext4(options: &[&str], tree: &Path, image: &Path, size: &str) -> Result<()> {
    let _ = fs::remove_file(image);
    let mke2fs = crate::setup::host_path("mke2fs").context("mke2fs is not installed: apt-get install e2fsprogs")?;
    let words = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0,root_owner=0:0"];
    let words = words.iter().chain(options).map(Path::new);
    let words: Vec<&Path> = words.chain([Path::new("-d"), tree, image, Path::new(size)]).collect();
    let task = match nix::unistd::geteuid().is_root() {
        true => Task::new(mke2fs, words),
        false => Task::new("unshare", [[Path::new("-r"), &mke2fs].as_slice(), &words].concat()),
    };
    task.read().map(drop).with_context(|| format!("cannot make {}", image.display()))
}
