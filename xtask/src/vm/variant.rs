//! Variants of libnvdimm: Debian's own source of the kernel that a guest boots, rebuilt with a change of a line or two.
//!
//! Source, headers and the image's BTF are of one version. What was built stays under the target folder until the packages or
//! the changes are others.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fs_err as fs;

use super::kernel::{self, CLOUD, Kernel};
use crate::debian::{NotAvailable, Package, Suite};
use crate::paths;
use crate::process::Task;

/// Unpacking the whole kernel's source for one folder of it takes 10 s if nothing else runs.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);

const SCRIPT: &str = include_str!("build-variant.sh");

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variant {
    /// Debian's source without a change: the control.
    Stock,
    /// MAX_STRUCT_PAGE_SIZE = 128, as in Linux 6.1 to 6.1.11: the regression.
    Max128,
    /// MAX_STRUCT_PAGE_SIZE = 32, below `sizeof(struct page)`: as on a kernel with memory debugging, map=dev is refused.
    Max32,
    /// The same with the module parameter `page_struct_override`, which upstream proposed and did not take.
    Max32Override,
}

impl Variant {
    /// All of them, in the order in which the fewest files are compiled again.
    pub(super) const ALL: [Self; 4] = [Self::Stock, Self::Max128, Self::Max32, Self::Max32Override];

    /// For people, in paths, and for the script.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Max128 => "max128",
            Self::Max32 => "max32",
            Self::Max32Override => "max32-override",
        }
    }
}

pub(super) struct Variants {
    /// The kernel that they were built for: the newest of which the suite holds image, headers and source.
    pub(super) kernel: Kernel,
    home: PathBuf,
}

impl Variants {
    pub(super) fn module(&self, variant: Variant) -> PathBuf {
        self.home.join(variant.name()).join("libnvdimm.ko")
    }
}

/// Builds these variants for a kernel line, unless that was done before. The error is a `NotAvailable` if the line is gone.
pub(super) fn provide(line: &str, wanted: &[Variant]) -> Result<Variants> {
    let suite = kernel::suite(line, CLOUD.architecture)?;
    let choose = |suite: &Suite| Ok(Sources::resolve(suite, line)?.map(|sources| sources.image));
    let kernel = kernel::provide_chosen(&suite, (line, CLOUD), choose)?;
    let gone =
        || anyhow!(NotAvailable(format!("Debian suite {} holds no source of kernel {line} any more", suite.name)));
    let sources = Sources::resolve(&suite, line)?.ok_or_else(gone)?;
    let missing: Vec<Variant> = wanted.iter().copied().filter(|variant| !sources.has_built(*variant)).collect();
    if !missing.is_empty() {
        sources.unpack(&suite, &kernel)?;
        for variant in missing {
            eprintln!("build libnvdimm {} for {} …", variant.name(), kernel.release);
            sources.build(variant).with_context(|| format!("cannot build libnvdimm {}", variant.name()))?;
        }
        fs::remove_dir_all(&sources.tree)?;
    }
    Ok(Variants { kernel, home: sources.home })
}

/// A kernel's image, the packages of the same version that modules for it are built with, and where they are unpacked.
struct Sources {
    image: Package,
    line: String,
    packages: Vec<Package>,
    home: PathBuf,
    /// The packages' contents, while something is built; below `source`, drivers/nvdimm and the same as it came.
    tree: PathBuf,
}

impl Sources {
    /// The newest image of the line of which the suite holds headers and source too: an index may be caught between the
    /// arrival of the one and the others.
    fn resolve(suite: &Suite, line: &str) -> Result<Option<Self>> {
        for image in kernel::images(suite, line, CLOUD)? {
            let release = kernel::release_of(&image.name);
            let common = release.trim_end_matches(CLOUD.suffix);
            let names = [
                format!("linux-source-{line}"),
                format!("linux-headers-{release}"),
                format!("linux-headers-{common}-common"),
                format!("linux-kbuild-{line}"),
            ];
            let held = suite.packages("linux-", |name| names.iter().any(|wanted| wanted == name))?;
            let packages: Vec<Package> = held.into_iter().filter(|package| package.version == image.version).collect();
            if packages.len() == names.len() {
                let home = paths::target().join("vm/variants").join(format!("{release}_{}", image.version));
                let tree = home.join("tree");
                return Ok(Some(Self { image, line: line.to_owned(), packages, home, tree }));
            }
        }
        Ok(None)
    }

    fn unpack(&self, suite: &Suite, kernel: &Kernel) -> Result<()> {
        let mut words = vec![self.line.clone().into(), kernel.image.clone()];
        for package in &self.packages {
            words.push(suite.download(package)?);
        }
        self.script("unpack", &words).limit(UNPACK_LIMIT).read().map(drop)
    }

    fn script(&self, what: &str, words: &[PathBuf]) -> Task {
        let release = kernel::release_of(&self.image.name);
        let first = [what.as_ref(), release.as_ref(), self.tree.as_os_str()];
        Task::script(SCRIPT, first.into_iter().chain(words.iter().map(|word| word.as_os_str())))
    }

    /// What the modules are made of, kept beside each.
    fn recipe(&self) -> String {
        let versions = self.packages.iter().map(|package| format!("{} {}\n", package.name, package.version));
        versions.collect::<String>() + SCRIPT
    }

    fn has_built(&self, variant: Variant) -> bool {
        let home = self.home.join(variant.name());
        let kept = fs::read_to_string(home.join("recipe")).unwrap_or_default();
        kept == self.recipe() && home.join("libnvdimm.ko").is_file()
    }

    fn build(&self, variant: Variant) -> Result<()> {
        let home = self.home.join(variant.name());
        self.script("build", &[home.clone(), variant.name().into()]).read()?;
        Ok(fs::write(home.join("recipe"), self.recipe())?)
    }
}
