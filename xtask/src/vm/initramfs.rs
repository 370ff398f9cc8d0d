//! A guest's whole root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cpio::newc;
use fs_err::File;
use guest::boot_config::{self, BootConfig};
use guest::bpf;
use guest::documents::story;

use super::foreign;
use super::kernel::Kernel;
use super::programs::{self, Built};
use crate::architecture::Architecture;
use crate::process::Task;
use crate::{paths, setup};

/// Programs of the host: name, and the package to install where there is no guest without it.
const TOOLS: [(&str, Option<&str>); 15] = [
    ("kmod", Some("kmod")),
    ("ndctl", Some("ndctl")),
    ("mkfs.ext4", None),
    ("mkfs.xfs", None),
    // For the commands that pfnwatch prints for people to type.
    ("sh", Some("dash")),
    ("dd", Some("coreutils")),
    ("ls", Some("coreutils")),
    ("cat", Some("coreutils")),
    ("mkdir", Some("coreutils")),
    ("id", Some("coreutils")),
    ("chroot", Some("coreutils")),
    ("od", Some("coreutils")),
    ("tr", Some("coreutils")),
    ("dmesg", Some("util-linux")),
    ("grep", Some("grep")),
];

/// Links to kmod. The kernel itself calls /sbin/modprobe.
const KMOD_LINKS: [&str; 4] = ["sbin/modprobe", "bin/insmod", "sbin/rmmod", "bin/lsmod"];

/// Modes of entries. All files are executable, which harms nothing in a test guest.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// What a path of the guest holds: a file of the host, or this text in an entry of this mode.
enum Content {
    Copy(PathBuf),
    Text(u32, String),
}

/// Contents by path, without a leading slash.
type Tree = BTreeMap<String, Content>;

pub(super) struct Base(Vec<(String, PathBuf)>);

impl Base {
    pub(super) fn new(built: &Built) -> Result<Self> {
        let mut files = vec![("init".to_owned(), built.init.clone()), ("bin/pfnwatch".to_owned(), built.agent.clone())];
        files.extend(built.tests.iter().map(|tests| ("bin/e2e".to_owned(), tests.clone())));
        files.extend(built.empty.iter().map(|object| (in_guest(Path::new(bpf::EMPTY_OBJECT)), object.clone())));
        match built.architecture {
            Architecture::HOST => files.extend(host_tools(&files)?),
            other => files.extend(foreign::tools(other, &TOOLS.map(|(name, _)| name))?),
        }
        files.extend(pages()?);
        Ok(Self(files))
    }

    pub(super) fn and(&self, files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self(self.0.iter().cloned().chain(files).collect())
    }

    pub(super) fn write(
        &self,
        kernel: &Kernel,
        libnvdimm: Option<&Path>,
        config: &BootConfig,
        to: &Path,
    ) -> Result<()> {
        let mut tree: Tree = self.0.iter().map(|(path, file)| (path.clone(), Content::Copy(file.clone()))).collect();
        tree.extend(KMOD_LINKS.iter().map(|path| ((*path).to_owned(), Content::Text(LINK, "/bin/kmod".to_owned()))));
        let text = serde_json::to_string(config).context("config that JSON refuses")?;
        tree.insert(in_guest(Path::new(boot_config::PATH)), Content::Text(PROGRAM, text));
        let modules = format!("lib/modules/{}", kernel.release);
        let files = Task::new("find", [".", "-type", "f"]).dir(&kernel.modules).read()?;
        let files = files.lines().filter_map(|file| file.strip_prefix("./"));
        tree.extend(files.map(|file| (format!("{modules}/{file}"), Content::Copy(kernel.modules.join(file)))));
        if let Some(module) = libnvdimm {
            let replaced = tree.insert(format!("{modules}/kernel/libnvdimm.ko"), Content::Copy(module.to_path_buf()));
            let own = replaced.with_context(|| format!("kernel {} has no libnvdimm to replace", kernel.release))?;
            // For a test that has the one take the other's place.
            tree.insert(format!("{modules}/other/libnvdimm.ko"), own);
        }
        write_tree(&tree, to)
    }
}

/// The tools of the host, and the libraries of all these programs.
fn host_tools(programs: &[(String, PathBuf)]) -> Result<Vec<(String, PathBuf)>> {
    let mut tools = Vec::new();
    for (name, package) in TOOLS {
        match (setup::host_path(name), package) {
            (Some(file), _) => tools.push((format!("bin/{name}"), file)),
            (None, Some(package)) => bail!("{name} is not installed: apt-get install {package}"),
            (None, None) => (),
        }
    }
    let libraries = programs::libraries(programs.iter().chain(&tools).map(|(_, file)| file.as_path()))?;
    tools.extend(libraries.into_iter().map(|file| (in_guest(&file), file)));
    Ok(tools)
}

fn pages() -> Result<Vec<(String, PathBuf)>> {
    let root = paths::root();
    let found = Task::new("find", ["README.md", "docs", "-name", "*.md"]).dir(&root).read()?;
    Ok(found.lines().map(|page| (in_guest(&Path::new(story::PAGES).join(page)), root.join(page))).collect())
}

fn in_guest(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// What an entry is read from.
trait Input: Read + Seek {}
impl<T: Read + Seek> Input for T {}

/// Uncompressed: under emulation the guest's kernel takes longer to unpack than to read. All belongs to root.
fn write_tree(tree: &Tree, to: &Path) -> Result<()> {
    let mut entries: Vec<(newc::Builder, Box<dyn Input>)> = Vec::new();
    for folder in folders(tree) {
        entries.push((newc::Builder::new(&folder).mode(FOLDER), Box::new(io::empty())));
    }
    for (path, content) in tree {
        let (mode, input): (u32, Box<dyn Input>) = match content {
            Content::Copy(file) => (PROGRAM, Box::new(File::open(file)?)),
            Content::Text(mode, text) => (*mode, Box::new(Cursor::new(text.clone()))),
        };
        entries.push((newc::Builder::new(path).mode(mode), input));
    }
    Ok(cpio::write_cpio(entries.into_iter(), BufWriter::new(File::create(to)?))?.flush()?)
}

/// Every folder above a path of the tree; a folder comes before what is in it.
fn folders(tree: &Tree) -> BTreeSet<String> {
    let above = |path: &String| Path::new(path).ancestors().skip(1).map(in_guest).collect::<Vec<_>>();
    tree.keys().flat_map(above).filter(|folder| !folder.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_its_contents() {
        let tree =
            ["lib/modules/6.1/a.ko", "init", "lib/x"].map(|path| (path.to_owned(), Content::Copy(PathBuf::new())));
        assert!(folders(&tree.into()).into_iter().eq(["lib", "lib/modules", "lib/modules/6.1"]));
    }
}
