//! The package of pfnwatch that guests install.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::process::Task;
use crate::{dist, paths, setup};

/// What is put behind the version of the newer package.
const LATER: &str = "+later";

/// The package of the agent that was built: as `cargo xtask dist` left it, or made now.
pub(super) fn find() -> Result<PathBuf> {
    let made = fs::read_dir(paths::dist()).into_iter().flatten().flatten().map(|entry| entry.path());
    let deb = made.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    match deb.filter(|deb| modified(deb) > modified(&paths::target().join("release/pfnwatch"))) {
        Some(deb) => Ok(deb),
        None => {
            setup::for_dist()?;
            dist::run()
        }
    }
}

/// None where there is no such file: that is older than any.
fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|meta| meta.modified()).ok()
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
