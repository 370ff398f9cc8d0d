//! Kernels in files: packages, installed trees, single modules and images, joined by their release.
//!
//! From 6.19 on Debian splits the image and the modules of a kernel into two packages, as Fedora always did: files are
//! therefore joined by the release that module and image contain, never by the file's name.

mod arm64_image;
mod freeing_code;
mod kallsyms;
mod kernel_paths;
pub mod max_struct_page;
pub mod memmap_return;
pub mod module_file;
pub mod package;
mod running_code;
mod unpack;
pub mod vmlinux;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use object::Architecture;
use thiserror::Error;

use self::module_file::{Module, ModuleError};
use self::package::{PackageError, PackageKind};
use self::unpack::unpack;
use crate::code::memmap_free::MemmapReturn;
use crate::kernel::btf::Btf;
use crate::kernel::max_struct_page::Evidence;
use crate::kernel::member_lookup::MemberLookup as _;

/// A single module or image, unpacked: images with debug symbols are the largest.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A kernel, as far as the given files contain it.
#[derive(Debug, Default)]
pub struct KernelImage {
    /// Its libnvdimm with its path; several if the given files contain several of one release.
    pub modules: Vec<(String, Module)>,
    /// `sizeof(struct page)` in bytes, out of its image.
    pub struct_page_bytes: Option<u64>,
    /// What it is for, by its module or image.
    pub architecture: Option<Architecture>,
    /// Whether libnvdimm is part of the image, so that there is no module file.
    pub built_in: bool,
    /// What its code does with a 2 MiB piece of memmap, with the image's path; or why that is not known. `None` without an image.
    pub memmap_return: Option<Result<(MemmapReturn, String), String>>,
    pub problems: Vec<String>,
}

/// All kernels found, by release, and the paths that gave none.
#[derive(Debug, Default)]
pub struct KernelImages {
    pub kernels: BTreeMap<String, KernelImage>,
    /// Path, and what is wrong with it.
    pub failures: Vec<(String, ImageFileError)>,
}

#[derive(Debug, Error)]
pub enum ImageFileError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Module(#[from] ModuleError),
    #[error(
        "no kernel in it, neither a libnvdimm module nor an image (vmlinuz): name /lib/modules/VERSION, or the root above lib/modules and boot"
    )]
    Nothing,
    #[error(
        "files of Linux {}, neither its libnvdimm module nor its image (vmlinuz) among them: name its other packages as well",
        .0.join(", ")
    )]
    OtherFiles(Vec<String>),
    #[error("no kernel in it, it depends on other packages: name these instead: {}", .0.join(", "))]
    OnlyDepends(Vec<String>),
    #[error("neither a .deb, an .rpm, a libnvdimm.ko (plain, .gz, .xz, .zst), a kernel image nor an installed tree")]
    AnotherKind,
}

impl KernelImage {
    pub fn evidence(&self) -> impl Iterator<Item = Evidence> {
        self.modules.iter().filter_map(|(file, module)| module.evidence(file))
    }
}

impl KernelImages {
    pub fn read<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut candidates = Self::default();
        for path in paths {
            match candidates.add(path) {
                Ok(0) => candidates.failures.push((path.display().to_string(), nothing_in(path))),
                Ok(_) => {}
                Err(error) => candidates.failures.push((path.display().to_string(), error)),
            }
        }
        let Self { kernels, failures } = &mut candidates;
        failures.retain(|(_, error)| match error {
            // Beside the packages that it depends on, such a package is no failure.
            ImageFileError::OnlyDepends(_) => kernels.is_empty(),
            // Neither is one with other modules of a kernel that is there.
            ImageFileError::OtherFiles(releases) => !releases.iter().all(|release| kernels.contains_key(release)),
            _ => true,
        });
        candidates
    }

    /// Adds what `path` contains; returns the number of kernel files.
    fn add(&mut self, path: &Path) -> Result<usize, ImageFileError> {
        if path.is_dir() {
            return kernel_paths::files(path)?.into_iter().map(|file| self.add(&file)).sum();
        }
        if let Some(release) = kernel_paths::release_of_builtin_list(path) {
            let list = std::fs::read(path)?;
            return Ok(self.add_builtin_list(release, &list));
        }
        let mut magic = Vec::new();
        let mut file = File::open(path)?;
        file.by_ref().take(8).read_to_end(&mut magic)?;
        match PackageKind::of(&magic) {
            Some(kind) => self.add_package(path, kind),
            None => {
                let bytes = unpack(io::Cursor::new(magic).chain(file), MAX_FILE_BYTES)?;
                self.add_bytes(&path.display().to_string(), &bytes).map(|()| 1)
            }
        }
    }

    fn add_package(&mut self, path: &Path, kind: PackageKind) -> Result<usize, ImageFileError> {
        let mut found = 0;
        let releases = RefCell::new(BTreeSet::new());
        let is_wanted = |inside: &str| {
            if let Some(release) = kernel_paths::release(inside).filter(|release| !releases.borrow().contains(*release))
            {
                releases.borrow_mut().insert(release.to_owned());
            }
            kernel_paths::is_wanted(inside)
        };
        package::files(path, kind, is_wanted, |entry| {
            let inside = Path::new(&entry.path);
            if let Some(release) = kernel_paths::release_of_builtin_list(inside) {
                found += self.add_builtin_list(release, &entry.bytes);
                return Ok(());
            }
            found += 1;
            let label = format!("{}: {}", path.display(), entry.path);
            let bytes = unpack(entry.bytes.as_slice(), MAX_FILE_BYTES)?;
            if let Err(error) = self.add_bytes(&label, &bytes) {
                self.failures.push((label, error));
            }
            Ok(())
        })?;
        let releases: Vec<_> = releases.into_inner().into_iter().collect();
        if found == 0 && !releases.is_empty() { Err(ImageFileError::OtherFiles(releases)) } else { Ok(found) }
    }

    fn add_bytes(&mut self, label: &str, bytes: &[u8]) -> Result<(), ImageFileError> {
        match module_file::parse(bytes) {
            Ok(module) => {
                let candidate = self.kernels.entry(module.release.clone()).or_default();
                candidate.architecture = Some(module.architecture);
                candidate.modules.push((label.to_owned(), module));
                Ok(())
            }
            Err(_) if vmlinux::is_image(bytes) => {
                self.add_image(label, bytes);
                Ok(())
            }
            Err(_) if !bytes.starts_with(b"\x7fELF") => Err(ImageFileError::AnotherKind),
            Err(error) => Err(error.into()),
        }
    }

    fn add_image(&mut self, label: &str, bytes: &[u8]) {
        let parsed = vmlinux::parse(bytes);
        let release = parsed.as_ref().ok().and_then(|image| image.release.clone()).or_else(|| vmlinux::release(bytes));
        let candidate = self.kernels.entry(release.unwrap_or_else(|| label.to_owned())).or_default();
        let image = match parsed {
            Ok(image) => image,
            Err(error) => return candidate.problems.push(format!("{label}: {error}")),
        };
        candidate.architecture = Some(image.architecture);
        let returned = image.memmap_return.map(|found| (found, label.to_owned()));
        candidate.memmap_return = Some(returned.map_err(|error| format!("{label}: {error}")));
        match image.btf.map_err(|error| error.to_string()).and_then(|btf| struct_page_bytes(&btf, label)) {
            Ok(size) => candidate.struct_page_bytes = Some(size),
            Err(reason) => candidate.problems.push(format!("no sizeof(struct page) from {label}: {reason}")),
        }
    }

    /// Records that libnvdimm is built in; ignores the list of any other kernel.
    fn add_builtin_list(&mut self, release: String, list: &[u8]) -> usize {
        let built_in = list.split(|&byte| byte == b'\n').any(|line| line.ends_with(b"/libnvdimm.ko"));
        if built_in {
            self.kernels.entry(release).or_default().built_in = true;
        }
        built_in.into()
    }
}

/// Why there is no kernel in a path.
fn nothing_in(path: &Path) -> ImageFileError {
    let mut magic = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut magic));
    let kind = read.ok().and_then(|_| PackageKind::of(&magic));
    let names = kind.and_then(|kind| package::kernel_dependencies(path, kind).ok()).unwrap_or_default();
    if names.is_empty() { ImageFileError::Nothing } else { ImageFileError::OnlyDepends(names) }
}

fn struct_page_bytes(btf: &[u8], label: &str) -> Result<u64, String> {
    let btf = Btf::from_reader(btf, label).map_err(|error| error.to_string())?;
    btf.size_of("page").map(u64::from).map_err(|error| error.to_string())
}
