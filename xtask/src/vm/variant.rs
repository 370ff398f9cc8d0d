//! Variants of libnvdimm: Debian's own source of the kernel that a guest boots, rebuilt with a change of a line or two.
//!
//! `sources` gets the source, the headers and the image's BTF in one version, and this file builds out of them. What
//! was built stays under the target folder until the packages or the changes are others.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::kernel::{self, Found, Kernel};
use crate::process::Task;

mod sources;

use sources::Sources;

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

/// A text of a source file and what takes its place.
#[derive(Debug)]
struct Edit {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MAX_128: Edit =
    Edit { file: "nd.h", old: "#define MAX_STRUCT_PAGE_SIZE 64", new: "#define MAX_STRUCT_PAGE_SIZE 128" };
const MAX_32: Edit =
    Edit { file: "nd.h", old: "#define MAX_STRUCT_PAGE_SIZE 64", new: "#define MAX_STRUCT_PAGE_SIZE 32" };
/// The kernel's code tests the constant wherever the parameter's value would be tested.
const OVERRIDE: Edit = Edit {
    file: "pfn_devs.c",
    old: "static const bool page_struct_override = IS_ENABLED(CONFIG_NVDIMM_KMSAN);",
    new: "#include <linux/moduleparam.h>\n\
          static bool page_struct_override;\n\
          module_param(page_struct_override, bool, 0444);\n\
          MODULE_PARM_DESC(page_struct_override, \"Reserve sizeof(struct page) where it is above the maximum\");",
};

/// The files that any variant changes.
const EDITED: [&str; 2] = ["nd.h", "pfn_devs.c"];

/// Everything else that the folder could make: guests take these from Debian's own package.
const NOT_BUILT: [&str; 5] =
    ["CONFIG_BLK_DEV_PMEM=", "CONFIG_ND_BTT=", "CONFIG_X86_PMEM_LEGACY=", "CONFIG_VIRTIO_PMEM=", "CONFIG_OF_PMEM="];

impl Variant {
    /// All of them, in the order in which the fewest files are compiled again.
    pub(super) const ALL: [Self; 4] = [Self::Stock, Self::Max128, Self::Max32, Self::Max32Override];

    /// Its name, for people and in paths.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Max128 => "max128",
            Self::Max32 => "max32",
            Self::Max32Override => "max32-override",
        }
    }

    fn edits(self) -> &'static [Edit] {
        match self {
            Self::Stock => &[],
            Self::Max128 => &[MAX_128],
            Self::Max32 => &[MAX_32],
            Self::Max32Override => &[MAX_32, OVERRIDE],
        }
    }
}

/// A kernel with the variants of its libnvdimm.
pub(super) struct Variants {
    /// The kernel that they were built for: the newest of which the suite holds image, headers and source.
    pub(super) kernel: Kernel,
    dir: PathBuf,
}

impl Variants {
    /// The variant's module.
    pub(super) fn module(&self, variant: Variant) -> PathBuf {
        self.dir.join(variant.name()).join("libnvdimm.ko")
    }
}

/// Builds these variants for a kernel line, unless that was done before; the reason if the line is gone.
pub(super) fn provide(line: &str, wanted: &[Variant]) -> Result<Result<Variants, String>> {
    let suite = match kernel::suite(line)? {
        Ok(suite) => suite,
        Err(why) => return Ok(Err(why)),
    };
    let choose = |suite: &_| Ok(Sources::resolve(suite, line)?.map(|sources| sources.image));
    let kernel = match kernel::provide_chosen(&suite, line, choose)? {
        Found::Kernel(kernel) => kernel,
        Found::NotRun(why) => return Ok(Err(format!("{why}, with headers and source"))),
    };
    let Some(sources) = Sources::resolve(&suite, line)? else {
        return Ok(Err(format!("Debian suite {} holds no source of kernel {line} any more", suite.name)));
    };
    let dir = sources.home.clone();
    let missing = |variant: &&Variant| !is_built(&dir, **variant, &sources);
    let missing: Vec<Variant> = wanted.iter().filter(missing).copied().collect();
    if !missing.is_empty() {
        sources.unpack(&suite, &kernel)?;
        for variant in missing {
            eprintln!("build libnvdimm {} for {} …", variant.name(), kernel.release);
            build(&dir, variant, &sources).with_context(|| format!("cannot build libnvdimm {}", variant.name()))?;
        }
        sources.clear()?;
    }
    Ok(Ok(Variants { kernel, dir }))
}

/// What a variant's module is made of, kept beside it.
fn recipe(variant: Variant, sources: &Sources) -> String {
    format!("{}\n{:?}\n{NOT_BUILT:?}\n", sources.versions, variant.edits())
}

fn is_built(dir: &Path, variant: Variant, sources: &Sources) -> bool {
    let home = dir.join(variant.name());
    let kept = fs::read_to_string(home.join("recipe")).unwrap_or_default();
    kept == recipe(variant, sources) && home.join("libnvdimm.ko").is_file()
}

/// One folder serves all variants, so that make compiles only what differs from the one before.
fn build(dir: &Path, variant: Variant, sources: &Sources) -> Result<()> {
    let source = sources.nvdimm();
    for file in EDITED {
        let pristine = sources.pristine(file);
        let text = fs::read_to_string(&pristine).with_context(|| format!("cannot read {}", pristine.display()))?;
        let edited = apply(variant, file, text)?;
        let to = source.join(file);
        // make goes by the time of the last change.
        if fs::read_to_string(&to).ok().as_ref() != Some(&edited) {
            fs::write(&to, edited).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut words = vec!["-C".to_owned(), sources.headers().display().to_string(), format!("-j{jobs}")];
    words.push(format!("M={}", source.display()));
    words.extend(sources.compiler().map(|compiler| format!("CC={compiler}")));
    words.extend(NOT_BUILT.iter().chain(&["modules"]).map(|word| (*word).to_owned()));
    Task::new("make", words).env("LC_ALL", "C").read()?;
    let home = dir.join(variant.name());
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let module = home.join("libnvdimm.ko");
    fs::copy(source.join("libnvdimm.ko"), &module).context("make left no libnvdimm.ko")?;
    add_btf(&module, &sources.vmlinux_btf())?;
    fs::write(home.join("recipe"), recipe(variant, sources))
        .with_context(|| format!("cannot write into {}", home.display()))
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

/// The file's text with the variant's changes; a text that is not there exactly once is an error.
fn apply(variant: Variant, file: &str, mut text: String) -> Result<String> {
    for edit in variant.edits().iter().filter(|edit| edit.file == file) {
        let count = text.matches(edit.old).count();
        ensure!(count == 1, "`{}` is {count} times in drivers/nvdimm/{file} of this kernel, not once", edit.old);
        text = text.replace(edit.old, edit.new);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_hit_their_file_once() {
        let header = "#define A 1\n#define MAX_STRUCT_PAGE_SIZE 64\n".to_owned();
        let changed = apply(Variant::Max128, "nd.h", header.clone()).unwrap();
        assert_eq!(changed, "#define A 1\n#define MAX_STRUCT_PAGE_SIZE 128\n");
        assert_eq!(apply(Variant::Stock, "nd.h", header.clone()).unwrap(), header);
        assert_eq!(apply(Variant::Max128, "pfn_devs.c", header.clone()).unwrap(), header);
        let error = apply(Variant::Max32, "nd.h", "#define MAX_STRUCT_PAGE_SIZE 128\n".to_owned()).unwrap_err();
        assert!(error.to_string().contains("is 0 times in drivers/nvdimm/nd.h"), "{error}");
    }

    #[test]
    fn every_changed_file_is_put_back_for_the_next_variant() {
        let edits = Variant::ALL.into_iter().flat_map(Variant::edits);
        assert!(edits.into_iter().all(|edit| EDITED.contains(&edit.file)));
    }
}
