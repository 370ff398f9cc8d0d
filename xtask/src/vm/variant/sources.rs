//! The packages that a variant is built from, all of one version.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::kernel::{self, FLAVOUR, Kernel};
use super::super::programs;
use super::btf;
use crate::debian::{self, Package, Suite};
use crate::process::Task;
use crate::{paths, progress};

/// Unpacking the whole kernel's source for one folder of it takes 10 s where nothing else runs.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);

/// A kernel's image, and the packages of the same version that modules for it are built with.
pub(super) struct Sources {
    /// The image.
    pub(super) image: Package,
    /// Where everything for this kernel is.
    pub(super) home: PathBuf,
    /// The packages in words.
    pub(super) versions: String,
    line: String,
    release: String,
    packages: Vec<Package>,
}

impl Sources {
    /// The newest image of the line of which the suite holds headers and source too: an index may be caught between the
    /// arrival of the one and the others.
    pub(super) fn resolve(suite: &Suite, line: &str) -> Result<Option<Self>> {
        for image in kernel::images(suite, line)? {
            let release = kernel::release_of(&image.name);
            let common = release.trim_end_matches(FLAVOUR);
            let names = [
                format!("linux-source-{line}"),
                format!("linux-headers-{release}"),
                format!("linux-headers-{common}-common"),
                format!("linux-kbuild-{line}"),
            ];
            let held = suite.packages("linux-", |name| names.iter().any(|wanted| wanted == name))?;
            let packages: Vec<Package> = held.into_iter().filter(|package| package.version == image.version).collect();
            if packages.len() == names.len() {
                let versions = packages.iter().map(|package| format!("{} {}\n", package.name, package.version));
                return Ok(Some(Self {
                    home: paths::target().join("vm/variants").join(format!("{release}_{}", image.version)),
                    versions: versions.collect(),
                    line: line.to_owned(),
                    release,
                    packages,
                    image,
                }));
            }
        }
        Ok(None)
    }

    /// Downloads and unpacks what a build needs, into folders that `clear` removes.
    pub(super) fn unpack(&self, suite: &Suite, kernel: &Kernel) -> Result<()> {
        self.clear()?;
        let tree = self.tree();
        for package in &self.packages {
            let deb = suite.download(package)?;
            let spinner = progress::spinner(&format!("unpack {} {}", package.name, package.version));
            if package.name.starts_with("linux-source") {
                self.unpack_nvdimm(&deb)?;
            } else {
                debian::unpack(&deb, &tree)?;
            }
            spinner.finish_and_clear();
        }
        // The package's Makefile includes the other package's by its path in the system.
        let makefile = self.headers().join("Makefile");
        let text = fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
        let here = text.replace("include /usr/src/", &format!("include {}/usr/src/", tree.display()));
        fs::write(&makefile, here).with_context(|| format!("cannot write {}", makefile.display()))?;
        btf::of_image(&kernel.image, &self.vmlinux_btf())
    }

    /// drivers/nvdimm out of the archive in the package, twice: to be built in, and to start from.
    fn unpack_nvdimm(&self, deb: &Path) -> Result<()> {
        let whole = self.home.join("whole");
        debian::unpack(deb, &whole)?;
        let inside = format!("linux-source-{}", self.line);
        let archive = whole.join("usr/src").join(format!("{inside}.tar.xz"));
        let place = format!("{inside}/drivers/nvdimm");
        for to in [self.nvdimm(), self.pristine("")] {
            fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
        }
        let words = ["-xf".as_ref(), archive.as_os_str(), "--strip-components=3".as_ref(), place.as_ref()];
        Task::new("tar", words).dir(&self.nvdimm()).limit(UNPACK_LIMIT).read()?;
        for file in super::EDITED {
            fs::copy(self.nvdimm().join(file), self.pristine(file)).with_context(|| format!("no {place}/{file}"))?;
        }
        fs::remove_dir_all(&whole).with_context(|| format!("cannot remove {}", whole.display()))
    }

    /// Removes what only a build needs.
    pub(super) fn clear(&self) -> Result<()> {
        for dir in [self.tree(), self.nvdimm(), self.pristine("")] {
            if dir.exists() {
                fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
            }
        }
        Ok(())
    }

    fn tree(&self) -> PathBuf {
        self.home.join("tree")
    }

    /// The headers, as `make -C` takes them.
    pub(super) fn headers(&self) -> PathBuf {
        self.tree().join("usr/src").join(format!("linux-headers-{}", self.release))
    }

    /// drivers/nvdimm, to be built in.
    pub(super) fn nvdimm(&self) -> PathBuf {
        self.home.join("nvdimm")
    }

    /// A file of drivers/nvdimm as it came.
    pub(super) fn pristine(&self, file: &str) -> PathBuf {
        self.home.join("pristine").join(file)
    }

    /// The kernel's BTF.
    pub(super) fn vmlinux_btf(&self) -> PathBuf {
        self.home.join("tree/vmlinux.btf")
    }

    /// The compiler to name to make: none where the host has the one that the headers name.
    pub(super) fn compiler(&self) -> Option<&'static str> {
        let settings = fs::read_to_string(self.headers().join(".kernelvariables")).unwrap_or_default();
        let own = settings.lines().find(|line| line.starts_with("CC ="))?.rsplit([' ', ')']).next()?;
        programs::of_host(own).is_none().then_some("gcc")
    }
}
