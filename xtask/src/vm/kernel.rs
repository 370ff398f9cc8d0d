//! Debian's kernels: the newest of a line that its suite holds, unpacked under the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::modules;
use crate::debian::{self, NotAvailable, Package, Suite};
use crate::paths;

/// The suite of each line.
const SUITES: [(&str, &str); 5] = [
    ("5.10", "bullseye"),
    ("6.1", "bookworm"),
    ("6.12", "trixie"),
    ("6.18", "trixie-backports"),
    ("7.3", "trixie-backports"),
];

/// The cloud flavour: the smallest that has all of the nvdimm stack.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that is ready to boot.
pub(super) struct Kernel {
    /// Its line, such as `6.12`.
    pub(super) line: String,
    /// Its release, as `uname -r` has it.
    pub(super) release: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// A folder of the modules that guests need, uncompressed, with depmod's tables: it becomes `/lib/modules/RELEASE`.
    pub(super) modules: PathBuf,
}

/// What became of a line.
pub(super) enum Found {
    /// It is here.
    Kernel(Kernel),
    /// Its suite cannot be had or no longer holds it; why.
    NotRun(String),
}

/// Resolves a line in its suite's index, downloads and unpacks it, unless that was done before.
pub(super) fn provide(line: &str) -> Result<Found> {
    let suite = SUITES.iter().find(|(known, _)| *known == line).map(|(_, suite)| *suite);
    let suite = suite.ok_or_else(|| anyhow!("kernel line {line} has no Debian suite here"))?;
    let suite = match Suite::open(suite) {
        Ok(suite) => suite,
        Err(error) => match error.downcast::<NotAvailable>() {
            Ok(gone) => return Ok(Found::NotRun(gone.to_string())),
            Err(error) => return Err(error),
        },
    };
    let Some(image) = newest_image(&suite, line)? else {
        return Ok(Found::NotRun(format!("Debian suite {} holds no kernel {line} any more", suite.name())));
    };
    let release = release_of(&image.name);
    let home = paths::target().join("vm/kernels").join(format!("{release}_{}", image.version));
    if !modules::is_staged(&home) {
        let _ = fs::remove_dir_all(&home);
        let part = home.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        unpack(&suite, line, &release, &part)?;
        fs::rename(&part, &home).with_context(|| format!("cannot create {}", home.display()))?;
    }
    let kernel = Kernel {
        line: line.to_owned(),
        image: home.join("vmlinuz"),
        modules: home.join("lib/modules").join(&release),
        release,
    };
    Ok(Found::Kernel(kernel))
}

/// From 6.19 on the kernel is in linux-binary, and linux-image is an empty package that depends on it.
fn newest_image(suite: &Suite, line: &str) -> Result<Option<Package>> {
    for kind in ["linux-binary", "linux-image"] {
        let newest = suite.packages(&format!("{kind}-{line}."), |name| name.ends_with(FLAVOUR))?.into_iter().next();
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}

/// `linux-image-6.1.0-50-cloud-amd64` is of 6.1.0-50-cloud-amd64.
fn release_of(package: &str) -> String {
    package.splitn(3, '-').nth(2).unwrap_or_default().to_owned()
}

/// Leaves the image and the modules that guests need in `home`, and nothing else.
fn unpack(suite: &Suite, line: &str, release: &str, home: &Path) -> Result<()> {
    let whole = home.join("whole");
    let choose = |suite: &Suite| {
        newest_image(suite, line)?.ok_or_else(|| anyhow!("Debian suite {} holds no kernel {line}", suite.name()))
    };
    let (image, deb) = suite.fetch(choose)?;
    debian::unpack(&deb, &whole)?;
    if image.name.starts_with("linux-binary") {
        let modules = suite.package(&format!("linux-modules-{release}"))?;
        debian::unpack(&suite.download(&modules)?, &whole)?;
    }
    let tree = ["usr/lib/modules", "lib/modules"].map(|place| whole.join(place).join(release));
    let tree = tree.iter().find(|dir| dir.is_dir()).with_context(|| format!("{} has no modules", image.name))?;
    let places = [whole.join(format!("boot/vmlinuz-{release}")), tree.join("vmlinuz")];
    let found = places.iter().find(|file| file.is_file()).with_context(|| format!("{} has no vmlinuz", image.name))?;
    fs::rename(found, home.join("vmlinuz")).context("cannot move vmlinuz")?;
    modules::stage(tree, home, release)?;
    fs::remove_dir_all(&whole).with_context(|| format!("cannot remove {}", whole.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_what_follows_the_kind() {
        assert_eq!(release_of("linux-image-6.1.0-50-cloud-amd64"), "6.1.0-50-cloud-amd64");
        assert_eq!(release_of("linux-binary-7.3.4+deb13-cloud-amd64"), "7.3.4+deb13-cloud-amd64");
    }

    #[test]
    fn every_line_that_is_tested_has_a_suite() {
        for line in guest::scope::LINES {
            assert!(SUITES.iter().any(|(known, _)| *known == line), "{line}");
        }
    }
}
