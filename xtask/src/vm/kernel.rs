//! Debian's kernels: the newest of a line that its suite holds, unpacked under the target folder with the modules that guests need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::debian::{NotAvailable, Package, Suite};
use crate::paths;
use crate::process::Task;

const SUITES: [(&str, &str); 5] = [
    ("5.10", "bullseye"),
    ("6.1", "bookworm"),
    ("6.12", "trixie"),
    ("6.18", "trixie-backports"),
    ("7.3", "trixie-backports"),
];

/// A kind of build of a line: its architecture, and how the names of its releases end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flavour {
    pub(super) architecture: Architecture,
    pub(super) suffix: &'static str,
}

/// The cloud flavour: the smallest that has all of the nvdimm stack.
pub(super) const CLOUD: Flavour = Flavour { architecture: Architecture::X86_64, suffix: "-cloud-amd64" };
/// With pages of 4 KiB and of 16 KiB.
pub(super) const ARM64: [Flavour; 2] = [
    Flavour { architecture: Architecture::Arm64, suffix: "-cloud-arm64" },
    Flavour { architecture: Architecture::Arm64, suffix: "-arm64-16k" },
];

/// What guests of an architecture boot.
pub(super) fn flavours(architecture: Architecture) -> &'static [Flavour] {
    match architecture {
        Architecture::X86_64 => &[CLOUD],
        Architecture::Arm64 => &ARM64,
    }
}

/// The nvdimm stack; CXL memory and other kinds of memory devices; what file systems and other users of pmem, disks and network devices need; ramoops, which takes any range of
/// physical memory for itself: a test makes a driver fail with it after the block is written. A kernel that has one of these
/// built in, or does not have it yet, has no file for it.
const MODULES: &str = "libnvdimm nfit nd_btt nd_pmem nd_e820 dax_pmem dax_pmem_compat device_dax fsdev_dax kmem dax_hmem \
    cxl_acpi cxl_pci cxl_mem cxl_pmem dax_cxl virtio_pmem ramdax ext4 xfs loop dm_mod md_mod virtio_pci virtio_blk dummy ramoops";

const STAGE: &str = include_str!("stage-kernel.sh");

pub(super) struct Kernel {
    /// Such as `6.12`.
    pub(super) line: String,
    pub(super) flavour: Flavour,
    /// As `uname -r` has it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// A folder of the modules that guests need, uncompressed, with depmod's tables: it becomes `/lib/modules/RELEASE`.
    pub(super) modules: PathBuf,
    /// The .deb files that it came in.
    pub(super) packages: Vec<PathBuf>,
}

impl Kernel {
    /// `6.12`, or `6.12-arm64-16k`: what names a guest's folder and begins its lines.
    pub(super) fn label(&self) -> String {
        match self.flavour.architecture {
            Architecture::X86_64 => self.line.clone(),
            Architecture::Arm64 => format!("{}{}", self.line, self.flavour.suffix),
        }
    }
}

pub(super) fn suite(line: &str, architecture: Architecture) -> Result<Suite> {
    Suite::open_for(suite_name(line)?, architecture)
}

fn suite_name(line: &str) -> Result<&'static str> {
    let suite = SUITES.iter().find(|(known, _)| *known == line);
    Ok(suite.with_context(|| format!("kernel line {line} has no Debian suite here"))?.1)
}

/// Resolves a line in its suite's index, downloads and unpacks it, unless that was done before. The error is a `NotAvailable` if the
/// suite cannot be had or no longer holds the line.
pub(super) fn provide(line: &str, flavour: Flavour) -> Result<Kernel> {
    let newest = |suite: &Suite| Ok(images(suite, line, flavour)?.into_iter().next());
    provide_chosen(&suite(line, flavour.architecture)?, (line, flavour), newest)
}

/// The same for an image that `choose` finds in the suite, if it finds one.
pub(super) fn provide_chosen(
    suite: &Suite,
    (line, flavour): (&str, Flavour),
    choose: impl Fn(&Suite) -> Result<Option<Package>>,
) -> Result<Kernel> {
    let gone = || {
        anyhow!(NotAvailable(format!("Debian suite {} holds no kernel {line}{} any more", suite.name, flavour.suffix)))
    };
    let mut image = choose(suite)?.ok_or_else(gone)?;
    if !is_staged(&home(&image)) {
        (image, _) = suite.fetch(|suite| choose(suite)?.ok_or_else(gone))?;
    }
    let (home, release) = (home(&image), release_of(&image.name));
    let packages = packages(suite, &image)?;
    if !is_staged(&home) {
        let words = [release.as_ref(), home.as_os_str(), MODULES.as_ref()];
        Task::script(STAGE, words.into_iter().chain(packages.iter().map(|deb| deb.as_os_str()))).read()?;
    }
    let (line, modules) = (line.to_owned(), home.join("lib/modules").join(&release));
    Ok(Kernel { line, flavour, image: home.join("vmlinuz"), modules, release, packages })
}

fn home(image: &Package) -> PathBuf {
    paths::target().join("vm/kernels").join(format!("{}_{}", release_of(&image.name), image.version))
}

/// The images of a line, the newest first. From 6.19 on the kernel is in linux-binary, and linux-image is an empty
/// package that depends on it.
pub(super) fn images(suite: &Suite, line: &str, flavour: Flavour) -> Result<Vec<Package>> {
    let of_kind = |kind| suite.packages(&format!("{kind}-{line}."), |name| name.ends_with(flavour.suffix));
    let found = of_kind("linux-binary")?;
    if found.is_empty() { of_kind("linux-image") } else { Ok(found) }
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

/// Whether `home` was staged with the modules that are wanted today.
fn is_staged(home: &Path) -> bool {
    fs::read_to_string(home.join("wanted-modules")).is_ok_and(|names| names.trim() == MODULES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_suites_and_packages_releases() {
        assert_eq!(release_of("linux-image-6.1.0-50-cloud-amd64"), "6.1.0-50-cloud-amd64");
        assert_eq!(release_of("linux-binary-7.3.4+deb13-cloud-amd64"), "7.3.4+deb13-cloud-amd64");
        let has_suite = |line: &str| SUITES.iter().any(|(known, _)| *known == line);
        assert!(guest::kernel_lines::KERNEL_LINES.into_iter().all(has_suite));
    }
}
