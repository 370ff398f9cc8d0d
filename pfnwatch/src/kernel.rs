//! Facts about the running kernel: its types, symbols, features, prerequisites and quirks.

pub mod boot;
pub mod btf;
pub mod changed_text;
pub mod features;
pub mod layout;
pub mod libnvdimm;
pub mod max_struct_page;
pub mod member_lookup;
pub mod prerequisites;
pub mod programs;
pub mod quirks;
mod symbols;

use crate::model::kernel::KernelFacts;
use crate::os::sysconf::page_size;
use std::path::Path;

use anyhow::Context as _;

use crate::{kernel::member_lookup::MemberLookup as _, os::paths::Paths};

impl KernelFacts {
    pub fn gather(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Self> {
        Self::of(paths, libnvdimm::open_types(paths, btf_dir).ok().as_ref())
    }

    pub fn of(paths: &Paths, btf: Option<&btf::Btf>) -> anyhow::Result<Self> {
        let release = std::fs::read_to_string(paths.procfs.join("sys/kernel/osrelease")).context("kernel release")?;
        Ok(Self {
            release: release.trim().to_owned(),
            page_size: page_size()?,
            struct_page_size: btf.and_then(|btf| btf.size_of("page").ok()).map(u64::from),
            deduplicates: btf.map(deduplicates),
        })
    }
}

/// Since `dev_pagemap.vmemmap_shift` (include/linux/memremap.h), for architectures that map the vmemmap by PTEs or PMDs
/// that they can share (ARCH_WANT_OPTIMIZE_DAX_VMEMMAP; POWER only with the radix MMU, its default since POWER9).
fn deduplicates(btf: &btf::Btf) -> bool {
    let supported = cfg!(any(target_arch = "x86_64", target_arch = "powerpc64", target_arch = "riscv64"));
    supported && btf.member("dev_pagemap", "vmemmap_shift").is_ok()
}
