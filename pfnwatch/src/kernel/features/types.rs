//! Facts from BTF about this kernel's structures.

use std::path::{Path, PathBuf};

use super::module::Module;
use crate::kernel::btf::{Btf, BtfError};
use crate::kernel::layout::{Resolution, resolve};
use crate::kernel::member_lookup::MemberLookup as _;

/// Facts from BTF, which is freed afterwards.
#[derive(Debug)]
pub struct Types {
    pub vmlinux: PathBuf,
    /// `sizeof(struct page)` in bytes, or why it is unknown.
    pub struct_page_bytes: Result<u32, String>,
    pub libnvdimm: ModuleTypes,
    /// The layout; without libnvdimm's types it has those of vmlinux.
    pub resolution: Resolution,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleTypes {
    Own(PathBuf),
    /// libnvdimm is built in: from the kernel's BTF.
    Kernel,
    Missing(PathBuf),
    Unusable(String),
}

impl Types {
    /// Reads `vmlinux` and `libnvdimm` from `btf_dir`, or as the kernel shows them in sysfs.
    pub fn read(sysfs: &Path, btf_dir: Option<&Path>, libnvdimm: &Module) -> Result<Self, BtfError> {
        let directory = btf_dir.map_or_else(|| sysfs.join("kernel/btf"), Path::to_path_buf);
        let (vmlinux, module) = (directory.join("vmlinux"), directory.join("libnvdimm"));
        let kernel = Btf::open(&vmlinux)?;
        let (libnvdimm, resolution) = if *libnvdimm == Module::BuiltIn {
            (ModuleTypes::Kernel, resolve(&kernel))
        } else if module.exists() {
            match Btf::open_split(&module, &kernel) {
                Ok(both) => (ModuleTypes::Own(module), resolve(&both)),
                Err(error) => (ModuleTypes::Unusable(error.to_string()), resolve(&kernel)),
            }
        } else {
            (ModuleTypes::Missing(module), resolve(&kernel))
        };
        let struct_page_bytes = kernel.size_of("page").map_err(|error| error.to_string());
        Ok(Self { vmlinux, struct_page_bytes, libnvdimm, resolution })
    }
}
