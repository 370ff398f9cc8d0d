//! A disk for guests that are booted one after the other: what is too large for their initramfs, and room for what lives on
//! from one boot to the next.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{alertmanager, web};

/// Room beside the programs, for journals and the like.
const SPARE_BYTES: u64 = 64 << 20;

/// Makes the disk: an ext4 with Prometheus and Alertmanager of Debian's packages, as guests expect them (`guest::disk`).
pub(super) fn make(file: &Path) -> Result<()> {
    let alertmanager = alertmanager::unpacked()?;
    let staged = file.with_extension("tree");
    let _ = fs::remove_dir_all(&staged);
    let share = alertmanager.join("usr/share/prometheus");
    for (program, place) in [
        (web::prometheus()?.join("prometheus"), "bin/prometheus"),
        (alertmanager.join("usr/bin/prometheus-alertmanager"), "bin/alertmanager"),
    ] {
        place_at(&program, &staged.join(place))?;
    }
    for file in files(&share)? {
        let place = file.strip_prefix(&share).unwrap_or(&file);
        place_at(&file, &staged.join("share/prometheus").join(place))?;
    }
    write(&staged, file)?;
    fs::remove_dir_all(&staged).with_context(|| format!("cannot remove {}", staged.display()))
}

/// An image with what is in a folder, without a privilege; nothing is kept of one that was there.
fn write(tree: &Path, image: &Path) -> Result<()> {
    let used: u64 = files(tree)?.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
    let _ = fs::remove_file(image);
    let size = format!("{}k", (used + used / 16 + SPARE_BYTES) / 1024);
    let options = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"];
    let arguments = options.iter().map(Path::new).chain([tree, image, Path::new(&size)]);
    Task::new("mke2fs", arguments).read().map(drop).context("no disk for guests")
}

/// Linked where both are on one file system: it is read once.
fn place_at(file: &Path, place: &Path) -> Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let placed = fs::hard_link(file, place).or_else(|_| fs::copy(file, place).map(drop));
    placed.with_context(|| format!("cannot copy {}", file.display()))
}

/// All plain files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
