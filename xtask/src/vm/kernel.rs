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
pub(super) const FLAVOUR: &str = "-cloud-amd64";

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
    /// The .deb files that it came in.
    pub(super) packages: Vec<PathBuf>,
}

/// What became of a line.
pub(super) enum Found {
    /// It is here.
    Kernel(Kernel),
    /// Its suite cannot be had or no longer holds it; why.
    NotRun(String),
}

/// Opens the suite of a line; the reason where it cannot be had.
pub(super) fn suite(line: &str) -> Result<Result<Suite, String>> {
    let suite = SUITES.iter().find(|(known, _)| *known == line).map(|(_, suite)| *suite);
    let suite = suite.ok_or_else(|| anyhow!("kernel line {line} has no Debian suite here"))?;
    match Suite::open(suite) {
        Ok(suite) => Ok(Ok(suite)),
        Err(error) => error.downcast::<NotAvailable>().map(|gone| Err(gone.to_string())),
    }
}

/// Resolves a line in its suite's index, downloads and unpacks it, unless that was done before.
pub(super) fn provide(line: &str) -> Result<Found> {
    let suite = match suite(line)? {
        Ok(suite) => suite,
        Err(why) => return Ok(Found::NotRun(why)),
    };
    provide_chosen(&suite, line, |suite| Ok(images(suite, line)?.into_iter().next()))
}

/// The same for an image that `choose` finds in the suite, if it finds one.
pub(super) fn provide_chosen(
    suite: &Suite,
    line: &str,
    choose: impl Fn(&Suite) -> Result<Option<Package>>,
) -> Result<Found> {
    let gone = || format!("Debian suite {} holds no kernel {line} any more", suite.name);
    let Some(mut image) = choose(suite)? else { return Ok(Found::NotRun(gone())) };
    if !modules::is_staged(&home(&image)) {
        (image, _) = suite.fetch(|suite| choose(suite)?.ok_or_else(|| anyhow!(gone())))?;
    }
    let packages = packages(suite, &image)?;
    if !modules::is_staged(&home(&image)) {
        let part = home(&image).with_extension("part");
        let _ = fs::remove_dir_all(&part);
        unpack(&packages, &image, &part)?;
        let _ = fs::remove_dir_all(home(&image));
        fs::rename(&part, home(&image)).with_context(|| format!("cannot create {}", home(&image).display()))?;
    }
    let (home, release) = (home(&image), release_of(&image.name));
    let kernel = Kernel {
        line: line.to_owned(),
        image: home.join("vmlinuz"),
        modules: home.join("lib/modules").join(&release),
        release,
        packages,
    };
    Ok(Found::Kernel(kernel))
}

/// Where an image is unpacked to.
fn home(image: &Package) -> PathBuf {
    paths::target().join("vm/kernels").join(format!("{}_{}", release_of(&image.name), image.version))
}

/// The images of a line, the newest first. From 6.19 on the kernel is in linux-binary, and linux-image is an empty
/// package that depends on it.
pub(super) fn images(suite: &Suite, line: &str) -> Result<Vec<Package>> {
    for kind in ["linux-binary", "linux-image"] {
        let found = suite.packages(&format!("{kind}-{line}."), |name| name.ends_with(FLAVOUR))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// `linux-image-6.1.0-50-cloud-amd64` is of 6.1.0-50-cloud-amd64.
pub(super) fn release_of(package: &str) -> String {
    package.splitn(3, '-').nth(2).unwrap_or_default().to_owned()
}

/// The files of a kernel: from 6.19 on the modules are in a package of their own.
fn packages(suite: &Suite, image: &Package) -> Result<Vec<PathBuf>> {
    let mut files = vec![suite.download(image)?];
    if image.name.starts_with("linux-binary") {
        let modules = suite.package(&format!("linux-modules-{}", release_of(&image.name)))?;
        files.push(suite.download(&modules)?);
    }
    Ok(files)
}

/// Leaves the image and the modules that guests need in `home`, and nothing else.
fn unpack(packages: &[PathBuf], image: &Package, home: &Path) -> Result<()> {
    let (whole, release) = (home.join("whole"), release_of(&image.name));
    debian::unpack(packages, &whole)?;
    let tree = ["usr/lib/modules", "lib/modules"].map(|place| whole.join(place).join(&release));
    let tree = tree.iter().find(|dir| dir.is_dir()).with_context(|| format!("{} has no modules", image.name))?;
    let places = [whole.join(format!("boot/vmlinuz-{release}")), tree.join("vmlinuz")];
    let found = places.iter().find(|file| file.is_file()).with_context(|| format!("{} has no vmlinuz", image.name))?;
    fs::rename(found, home.join("vmlinuz")).context("cannot move vmlinuz")?;
    modules::stage(tree, home, &release)?;
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
