//! The package of pfnwatch that guests install.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::paths;
use crate::process::Task;

/// What is put behind the version of the newer package.
const LATER: &str = "+later";

/// The package as `cargo xtask dist` left it.
pub(super) fn find() -> Result<PathBuf> {
    let dist = paths::target().join("dist");
    let entries = fs::read_dir(&dist).with_context(|| format!("no packages in {}", dist.display()))?;
    let deb = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|it| it == "deb"));
    deb.with_context(|| format!("there is no package in {}", dist.display()))
}

/// The same package with a higher version.
pub(super) fn newer(package: &Path) -> Result<PathBuf> {
    let dir = paths::target().join("vm/debian-packages");
    let (tree, newer) = (dir.join("tree"), dir.join("newer.deb"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Task::new("dpkg-deb", ["-R".as_ref(), package.as_os_str(), tree.as_os_str()]).read()?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).with_context(|| format!("no {}", control.display()))?;
    let later = with_later_version(&text);
    ensure!(later != text, "a package without a version: {text}");
    fs::write(&control, later).with_context(|| format!("cannot write {}", control.display()))?;
    // Packed quickly, and unpacked quickly in the guest.
    let words = ["--root-owner-group", "-Zgzip", "-z1", "-b"];
    let words = words.iter().map(AsRef::as_ref).chain([tree.as_os_str(), newer.as_os_str()]);
    Task::new("dpkg-deb", words).read()?;
    Ok(newer)
}

fn with_later_version(control: &str) -> String {
    let line = |line: &str| match line.starts_with("Version: ") {
        true => format!("{}{LATER}\n", line.trim_end()),
        false => format!("{line}\n"),
    };
    control.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_alone_changes() {
        let control = "Package: pfnwatch\nVersion: 0.1.0-1\nDescription: x\n Version: y\n";
        assert_eq!(
            with_later_version(control),
            "Package: pfnwatch\nVersion: 0.1.0-1+later\nDescription: x\n Version: y\n"
        );
    }
}
