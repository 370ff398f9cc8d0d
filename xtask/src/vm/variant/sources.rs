//! The packages that a variant is built from, all of one version.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::kernel::{self, FLAVOUR, Kernel};
use crate::debian::{self, Package, Suite};
use crate::process::Task;
use crate::{paths, setup};

/// Unpacking the whole kernel's source for one folder of it takes 10 s where nothing else runs.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);

/// Writes the BTF of the image `$1` to `$2`, by the kernel's own script.
const VMLINUX_BTF: &str = r#"set -e
sh scripts/extract-vmlinux "$1" > vmlinux
objcopy --dump-section=.BTF="$2" vmlinux /dev/null
"#;

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

    /// Downloads and unpacks what a build needs, into a folder that `clear` removes.
    pub(super) fn unpack(&self, suite: &Suite, kernel: &Kernel) -> Result<()> {
        self.clear()?;
        let tree = self.tree();
        for package in &self.packages {
            debian::unpack(&[suite.download(package)?], &tree)?;
        }
        // The package's Makefile includes the other package's by its path in the system.
        let makefile = self.headers().join("Makefile");
        let text = fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
        let here = text.replace("include /usr/src/", &format!("include {}/usr/src/", tree.display()));
        fs::write(&makefile, here).with_context(|| format!("cannot write {}", makefile.display()))?;
        // One folder of the kernel's source, and the script that unpacks a kernel's image. The archive is packed with xz, and takes a while.
        let (source, line) = (self.source(), &self.line);
        fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
        let archive = format!("../usr/src/linux-source-{line}.tar.xz");
        let wanted = ["drivers/nvdimm", "scripts/extract-vmlinux"].map(|path| format!("linux-source-{line}/{path}"));
        let words = ["-xf".to_owned(), archive, "--strip-components=1".to_owned()];
        Task::new("tar", words.iter().chain(&wanted)).dir(&source).limit(UNPACK_LIMIT).read()?;
        for file in super::EDITED {
            let (from, to) = (self.nvdimm().join(file), self.pristine(file));
            fs::copy(&from, to).with_context(|| format!("there is no {}", from.display()))?;
        }
        // The kernel's BTF: over it, pahole makes that of a module.
        let places = [kernel.image.clone(), self.vmlinux_btf()];
        let words = ["-c", VMLINUX_BTF, "vmlinux-btf"].map(PathBuf::from).into_iter().chain(places);
        Task::new("sh", words).dir(&source).read().map(drop).context("no BTF in vmlinux")
    }

    /// Removes what only a build needs.
    pub(super) fn clear(&self) -> Result<()> {
        let tree = self.tree();
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
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

    fn source(&self) -> PathBuf {
        self.tree().join("source")
    }

    /// drivers/nvdimm, to be built in.
    pub(super) fn nvdimm(&self) -> PathBuf {
        self.source().join("drivers/nvdimm")
    }

    /// A file of drivers/nvdimm as it came.
    pub(super) fn pristine(&self, file: &str) -> PathBuf {
        self.source().join(format!("{file}.pristine"))
    }

    /// The kernel's BTF.
    pub(super) fn vmlinux_btf(&self) -> PathBuf {
        self.tree().join("vmlinux.btf")
    }

    /// The compiler to name to make: none where the host has the one that the headers name.
    pub(super) fn compiler(&self) -> Option<&'static str> {
        let settings = fs::read_to_string(self.headers().join(".kernelvariables")).unwrap_or_default();
        let own = settings.lines().find(|line| line.starts_with("CC ="))?.rsplit([' ', ')']).next()?;
        (!setup::host_has(own)).then_some("gcc")
    }
}
