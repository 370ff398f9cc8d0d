//! What the eBPF programs are attached to: libnvdimm, as it is loaded now.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use super::{
    btf::Btf,
    layout::{Resolution, resolve},
};
use crate::paths::Paths;

/// Whether libnvdimm is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libnvdimm {
    /// As a module that is loaded.
    Loaded,
    /// As a part of the kernel's image.
    BuiltIn,
    /// Not, or not yet.
    NotLoaded,
}

impl Libnvdimm {
    /// Looks at sysfs.
    pub fn look(paths: &Paths) -> Self {
        // A module has an initstate; a part of the image has none, but may have parameters there.
        match fs::read_to_string(paths.sysfs.join("module/libnvdimm/initstate")) {
            // One that goes or has just come is announced by a message of its own.
            Ok(state) if state.trim() == "live" || state.trim() == "coming" => Self::Loaded,
            Ok(_) => Self::NotLoaded,
            Err(_) if paths.sysfs.join("bus/nd").is_dir() => Self::BuiltIn,
            Err(_) => Self::NotLoaded,
        }
    }
}

/// Resolves the structures that the programs read against the BTF of the kernel and of libnvdimm as they run, or of
/// `btf_dir`.
///
/// # Errors
/// BTF is missing or damaged: the message says which, and what to do.
pub fn resolve_layouts(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Resolution> {
    let usual = paths.sysfs.join("kernel/btf");
    let directory = btf_dir.unwrap_or(&usual);
    let vmlinux = Btf::open(&directory.join("vmlinux")).context(
        "the kernel's types are not known: it must be built with CONFIG_DEBUG_INFO_BTF, or --btf-dir must name them",
    )?;
    if Libnvdimm::look(paths) == Libnvdimm::BuiltIn {
        return Ok(resolve(&vmlinux));
    }
    let module = directory.join("libnvdimm");
    ensure!(
        module.exists(),
        "libnvdimm's types are not known: {} is not there. The kernel must be built with CONFIG_DEBUG_INFO_BTF_MODULES \
         (5.11 or newer), or --btf-dir must name them",
        module.display()
    );
    Ok(resolve(&Btf::open_split(&module, &vmlinux)?))
}
