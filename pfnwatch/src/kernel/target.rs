//! What the eBPF programs are attached to: libnvdimm, as it is loaded now.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, ensure};

use super::{
    btf::Btf,
    layout::{Resolution, resolve},
};
use crate::cli::Paths;

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

/// The kernel's functions and structures that the programs need.
pub struct Target {
    /// Where the members of the structures lie.
    pub resolution: Resolution,
    functions: Vec<String>,
}

impl Target {
    /// Resolves against the BTF of the kernel and of libnvdimm as they run, or of `btf_dir`.
    ///
    /// # Errors
    /// BTF is missing or damaged, or the kernel's symbols cannot be read: the message says which and what to do.
    pub fn resolve(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Self> {
        let usual = paths.sysfs.join("kernel/btf");
        let directory = btf_dir.unwrap_or(&usual);
        let vmlinux = Btf::open(&directory.join("vmlinux")).context(
            "the kernel's types are not known: it must be built with CONFIG_DEBUG_INFO_BTF, or --btf-dir must name them",
        )?;
        let resolution = match Libnvdimm::look(paths) {
            Libnvdimm::BuiltIn => resolve(&vmlinux),
            Libnvdimm::Loaded | Libnvdimm::NotLoaded => {
                let module = directory.join("libnvdimm");
                ensure!(
                    module.exists(),
                    "libnvdimm's types are not known: {} is not there. The kernel must be built with \
                     CONFIG_DEBUG_INFO_BTF_MODULES (5.11 or newer), or --btf-dir must name them",
                    module.display()
                );
                resolve(&Btf::open_split(&module, &vmlinux)?)
            }
        };
        Ok(Self { resolution, functions: functions(&paths.procfs)? })
    }

    /// Whether the kernel has this function, so that it can be probed.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function == name)
    }
}

/// The functions of [`crate::bpf::plan::PROGRAMS`] that are there.
fn functions(procfs: &Path) -> anyhow::Result<Vec<String>> {
    let path = procfs.join("kallsyms");
    let file = File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut found = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("{} cannot be read", path.display()))?;
        let mut words = line.split_ascii_whitespace();
        if let (Some(_), Some("t" | "T"), Some(name)) = (words.next(), words.next(), words.next())
            && crate::bpf::plan::PROGRAMS.iter().any(|spec| spec.hook.function() == name)
        {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}
