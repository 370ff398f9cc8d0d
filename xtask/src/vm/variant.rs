//! Variants of libnvdimm: Debian's own source of the kernel that a guest boots, rebuilt with a change of a line or two.
//!
//! Source, headers and the image's BTF are of one version. What was built stays under the target folder until the packages or
//! the changes are others.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use fs_err as fs;

use super::kernel::{self, FLAVOUR, Kernel};
use crate::debian::{self, NotAvailable, Package, Suite};
use crate::process::Task;
use crate::{paths, setup};

/// Unpacking the whole kernel's source for one folder of it takes 10 s if nothing else runs.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);

/// Writes the BTF of the image `$1` to `$2`, by the kernel's own script.
const VMLINUX_BTF: &str = r#"set -e
sh scripts/extract-vmlinux "$1" > vmlinux
objcopy --dump-section=.BTF="$2" vmlinux /dev/null
"#;

/// Which libnvdimm a machine runs.
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

/// A source file, a text of it, and its replacement.
type Edit = (&'static str, &'static str, &'static str);

const MAX_128: Edit = ("nd.h", "#define MAX_STRUCT_PAGE_SIZE 64", "#define MAX_STRUCT_PAGE_SIZE 128");
const MAX_32: Edit = ("nd.h", "#define MAX_STRUCT_PAGE_SIZE 64", "#define MAX_STRUCT_PAGE_SIZE 32");
/// The kernel's code tests the constant wherever the parameter's value would be tested.
const OVERRIDE: Edit = (
    "pfn_devs.c",
    "static const bool page_struct_override = IS_ENABLED(CONFIG_NVDIMM_KMSAN);",
    "#include <linux/moduleparam.h>\n\
     static bool page_struct_override;\n\
     module_param(page_struct_override, bool, 0444);\n\
     MODULE_PARM_DESC(page_struct_override, \"Reserve sizeof(struct page) where it is above the maximum\");",
);

/// The files that any variant changes.
const EDITED: [&str; 2] = ["nd.h", "pfn_devs.c"];

/// Everything else that the folder could make: guests take these from Debian's own package.
const NOT_BUILT: [&str; 5] =
    ["CONFIG_BLK_DEV_PMEM=", "CONFIG_ND_BTT=", "CONFIG_X86_PMEM_LEGACY=", "CONFIG_VIRTIO_PMEM=", "CONFIG_OF_PMEM="];

impl Variant {
    /// All of them, in the order in which the fewest files are compiled again.
    pub(super) const ALL: [Self; 4] = [Self::Stock, Self::Max128, Self::Max32, Self::Max32Override];

    /// Its name, for people and in paths, and its changes.
    fn parts(self) -> (&'static str, &'static [Edit]) {
        match self {
            Self::Stock => ("stock", &[]),
            Self::Max128 => ("max128", &[MAX_128]),
            Self::Max32 => ("max32", &[MAX_32]),
            Self::Max32Override => ("max32-override", &[MAX_32, OVERRIDE]),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.parts().0
    }

    /// The file's text with the variant's changes; a text that is not there exactly once is an error.
    fn apply(self, file: &str, mut text: String) -> Result<String> {
        for (_, old, new) in self.parts().1.iter().filter(|(edited, ..)| *edited == file) {
            let count = text.matches(old).count();
            ensure!(count == 1, "`{old}` is {count} times in drivers/nvdimm/{file} of this kernel, not once");
            text = text.replace(old, new);
        }
        Ok(text)
    }
}

/// A kernel with the variants of its libnvdimm.
pub(super) struct Variants {
    /// The kernel that they were built for: the newest of which the suite holds image, headers and source.
    pub(super) kernel: Kernel,
    home: PathBuf,
}

impl Variants {
    /// The variant's module.
    pub(super) fn module(&self, variant: Variant) -> PathBuf {
        self.home.join(variant.name()).join("libnvdimm.ko")
    }
}

/// Builds these variants for a kernel line, unless that was done before. The error is a `NotAvailable` if the line is gone.
pub(super) fn provide(line: &str, wanted: &[Variant]) -> Result<Variants> {
    let suite = kernel::suite(line)?;
    let choose = |suite: &Suite| Ok(Sources::resolve(suite, line)?.map(|sources| sources.image));
    let kernel = kernel::provide_chosen(&suite, line, choose)?;
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
    /// Where everything for this kernel is.
    home: PathBuf,
    /// The packages' contents, while something is built.
    tree: PathBuf,
    /// The headers, as `make -C` takes them.
    headers: PathBuf,
    /// The kernel's source: drivers/nvdimm alone, with the files of [`EDITED`] beside it as they came.
    source: PathBuf,
}

impl Sources {
    /// The newest image of the line of which the suite holds headers and source too: an index may be caught between the
    /// arrival of the one and the others.
    fn resolve(suite: &Suite, line: &str) -> Result<Option<Self>> {
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
                let home = paths::target().join("vm/variants").join(format!("{release}_{}", image.version));
                let tree = home.join("tree");
                let headers = tree.join("usr/src").join(format!("linux-headers-{release}"));
                let source = tree.join("source");
                return Ok(Some(Self { image, line: line.to_owned(), packages, home, tree, headers, source }));
            }
        }
        Ok(None)
    }

    /// Downloads and unpacks what a build needs.
    fn unpack(&self, suite: &Suite, kernel: &Kernel) -> Result<()> {
        debian::empty_folder(&self.tree)?;
        for package in &self.packages {
            debian::unpack(&[suite.download(package)?], &self.tree)?;
        }
        // The package's Makefile includes the other package's by its path in the system.
        let makefile = self.headers.join("Makefile");
        let here = format!("include {}/usr/src/", self.tree.display());
        fs::write(&makefile, fs::read_to_string(&makefile)?.replace("include /usr/src/", &here))?;
        // One folder of the kernel's source, and the script that unpacks a kernel's image. The archive is packed with xz, and takes a while.
        fs::create_dir_all(&self.source)?;
        let name = format!("linux-source-{}", self.line);
        let words = ["-xf".to_owned(), format!("../usr/src/{name}.tar.xz"), "--strip-components=1".to_owned()];
        let wanted = ["drivers/nvdimm", "scripts/extract-vmlinux"].map(|path| format!("{name}/{path}"));
        Task::new("tar", words.iter().chain(&wanted)).dir(&self.source).limit(UNPACK_LIMIT).read()?;
        for file in EDITED {
            fs::copy(self.source.join("drivers/nvdimm").join(file), self.pristine(file))?;
        }
        // The kernel's BTF: over it, pahole makes that of a module.
        let words = ["-c", VMLINUX_BTF, "vmlinux-btf"].map(PathBuf::from);
        let words = words.into_iter().chain([kernel.image.clone(), self.vmlinux_btf()]);
        Task::new("sh", words).dir(&self.source).read().map(drop).context("no BTF in vmlinux")
    }

    /// A file of drivers/nvdimm as it came.
    fn pristine(&self, file: &str) -> PathBuf {
        self.source.join(format!("{file}.pristine"))
    }

    fn vmlinux_btf(&self) -> PathBuf {
        self.tree.join("vmlinux.btf")
    }

    /// What a variant's module is made of, kept beside it.
    fn recipe(&self, variant: Variant) -> String {
        let versions = self.packages.iter().map(|package| format!("{} {}\n", package.name, package.version));
        format!("{}\n{:?}\n{NOT_BUILT:?}\n", versions.collect::<String>(), variant.parts().1)
    }

    fn has_built(&self, variant: Variant) -> bool {
        let home = self.home.join(variant.name());
        let kept = fs::read_to_string(home.join("recipe")).unwrap_or_default();
        kept == self.recipe(variant) && home.join("libnvdimm.ko").is_file()
    }

    /// One folder serves all variants, so that make compiles only what differs from the one before.
    fn build(&self, variant: Variant) -> Result<()> {
        let source = self.source.join("drivers/nvdimm");
        for file in EDITED {
            let (edited, to) = (variant.apply(file, fs::read_to_string(self.pristine(file))?)?, source.join(file));
            // make goes by the time of the last change.
            if fs::read_to_string(&to).ok().as_ref() != Some(&edited) {
                fs::write(&to, edited)?;
            }
        }
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut words = vec!["-C".to_owned(), self.headers.display().to_string(), format!("-j{jobs}")];
        words.push(format!("M={}", source.display()));
        words.extend(self.compiler().map(|compiler| format!("CC={compiler}")));
        words.extend(NOT_BUILT.iter().chain(&["modules"]).map(|word| (*word).to_owned()));
        Task::new("make", words).env("LC_ALL", "C").read()?;
        let home = self.home.join(variant.name());
        fs::create_dir_all(&home)?;
        fs::copy(source.join("libnvdimm.ko"), home.join("libnvdimm.ko")).context("make left no libnvdimm.ko")?;
        add_btf(&home.join("libnvdimm.ko"), &self.vmlinux_btf())?;
        Ok(fs::write(home.join("recipe"), self.recipe(variant))?)
    }

    /// The compiler to name to make: none if the host has the one that the headers name.
    fn compiler(&self) -> Option<&'static str> {
        let settings = fs::read_to_string(self.headers.join(".kernelvariables")).unwrap_or_default();
        let own = settings.lines().find(|line| line.starts_with("CC ="))?.rsplit([' ', ')']).next()?;
        (!setup::host_has(own)).then_some("gcc")
    }
}

/// Gives a module BTF over that of its kernel, made of its debug information, which is then removed.
fn add_btf(module: &Path, vmlinux_btf: &Path) -> Result<()> {
    let words = ["-J".as_ref(), "-j".as_ref(), "--btf_base".as_ref(), vmlinux_btf.as_os_str(), module.as_os_str()];
    Task::new("pahole", words).env("LLVM_OBJCOPY", "objcopy").read()?;
    Task::new("strip", ["--strip-debug".as_ref(), module.as_os_str()]).read()?;
    let sections = Task::new("objdump", ["-h".as_ref(), module.as_os_str()]).env("LC_ALL", "C").read()?;
    let has_btf = sections.lines().any(|line| line.split_whitespace().nth(1) == Some(".BTF"));
    ensure!(has_btf, "pahole left no .BTF in {}", module.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_hit_their_file_once() {
        let header = "#define A 1\n#define MAX_STRUCT_PAGE_SIZE 64\n";
        let apply = |variant: Variant, file| variant.apply(file, header.to_owned());
        assert_eq!(apply(Variant::Max128, "nd.h").unwrap(), header.replace("64", "128"));
        assert_eq!(apply(Variant::Stock, "nd.h").unwrap(), header);
        assert_eq!(apply(Variant::Max128, "pfn_devs.c").unwrap(), header);
        let error = Variant::Max32.apply("nd.h", header.replace("64", "128")).unwrap_err().to_string();
        assert!(error.contains("is 0 times in drivers/nvdimm/nd.h"), "{error}");
        // Each changed file is restored for the next variant.
        assert!(Variant::ALL.iter().flat_map(|variant| variant.parts().1).all(|(file, ..)| EDITED.contains(file)));
    }
}
