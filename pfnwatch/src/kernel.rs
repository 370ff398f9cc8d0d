//! What is known of the kernel that runs.

pub mod btf;
pub mod layout;
pub mod member;
pub mod target;

use std::path::Path;

use anyhow::Context as _;

use crate::{cli::Paths, kernel::member::MemberLookup as _};

/// Facts about the kernel that do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// `uname -r`
    pub release: String,
    /// Bytes in a page.
    pub page_size: u64,
    /// `sizeof(struct page)` in bytes, where BTF tells it.
    pub struct_page_size: Option<u64>,
}

impl KernelFacts {
    /// Gathers them.
    ///
    /// # Errors
    /// The release or the page size cannot be read.
    pub fn gather(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Self> {
        let release = std::fs::read_to_string(paths.procfs.join("sys/kernel/osrelease")).context("kernel release")?;
        let usual = paths.sysfs.join("kernel/btf");
        let btf = btf::Btf::open(&btf_dir.unwrap_or(&usual).join("vmlinux"));
        let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.context("page size")?;
        Ok(Self {
            release: release.trim().to_owned(),
            page_size: u64::try_from(page_size)?,
            struct_page_size: btf.ok().and_then(|btf| btf.size_of("page").ok()).map(u64::from),
        })
    }
}
