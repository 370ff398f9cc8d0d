//! Facts about the running kernel: its types, symbols, features, prerequisites and changes of its text.

pub mod boot;
pub mod boot_cache;
pub mod bpf_runtime;
pub mod btf;
pub mod changed_text;
pub mod features;
pub mod known_defects;
pub mod layout;
pub mod libnvdimm;
pub mod max_struct_page;
pub mod member_lookup;
pub mod memmap_counter;
mod memory_use;
pub mod prerequisites;
pub mod programs;
mod symbols;

use crate::model::aligns::Aligns;
use crate::model::kernel::KernelFacts;
use crate::os::sysconf::page_size;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::kernel::boot_cache::BootCache;
use crate::kernel::member_lookup::MemberLookup as _;
use crate::os::paths::Paths;

const CACHED_TYPES: &str = "page-types";

/// What the kernel's types show of its memmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PageTypes {
    struct_page_size: Option<u64>,
    has_vmemmap_shift: bool,
}

impl PageTypes {
    fn of(btf: &btf::Btf) -> Self {
        Self {
            struct_page_size: btf.size_of("page").ok().map(u64::from),
            has_vmemmap_shift: btf.member("dev_pagemap", "vmemmap_shift").is_ok(),
        }
    }
}

impl KernelFacts {
    /// BTF has 5 MB: what it shows of the running kernel is kept until the next boot.
    pub fn gather(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Self> {
        let cache = if btf_dir.is_some() { None } else { BootCache::of_running(paths) };
        if let Some(types) = cache.as_ref().and_then(|cache| cache.get(CACHED_TYPES)) {
            return Self::from_types(paths, Some(types));
        }
        let types = libnvdimm::open_types(paths, btf_dir).ok().map(|btf| PageTypes::of(&btf));
        if let (Some(cache), Some(types)) = (cache, types) {
            cache.put(CACHED_TYPES, &types);
        }
        Self::from_types(paths, types)
    }

    pub fn of(paths: &Paths, btf: Option<&btf::Btf>) -> anyhow::Result<Self> {
        Self::from_types(paths, btf.map(PageTypes::of))
    }

    fn from_types(paths: &Paths, types: Option<PageTypes>) -> anyhow::Result<Self> {
        let release = std::fs::read_to_string(paths.procfs.join("sys/kernel/osrelease")).context("kernel release")?;
        let page_size = page_size()?;
        let version = std::fs::read_to_string(paths.procfs.join("sys/kernel/version")).unwrap_or_default();
        Ok(Self {
            page_size,
            struct_page_size: types.and_then(|types| types.struct_page_size),
            deduplicates: types.and_then(|types| deduplicates(types, release.trim(), DEDUPLICATION_SINCE)),
            may_lose_memmap: known_defects::may_lose_memmap(release.trim()),
            allows_empty: allows_empty(release.trim()),
            aligns: usual_aligns(page_size, &version),
            release: release.trim().to_owned(),
        })
    }
}

/// Since which upstream version the kernel deduplicates tail pages of devdax: 5.19 for x86_64 (mm/sparse-vmemmap.c,
/// `vmemmap_populate_compound_pages`), 6.6 for POWER with the radix MMU (arch/powerpc/mm/book3s64/radix_pgtable.c), 6.11 for
/// RISC-V (ARCH_WANT_OPTIMIZE_DAX_VMEMMAP in arch/riscv/Kconfig). `None`: the architecture does not.
const DEDUPLICATION_SINCE: Option<(u32, u32)> = if cfg!(target_arch = "x86_64") {
    Some((5, 19))
} else if cfg!(target_arch = "powerpc64") {
    Some((6, 6))
} else if cfg!(target_arch = "riscv64") {
    Some((6, 11))
} else {
    None
};

/// `dev_pagemap.vmemmap_shift` (include/linux/memremap.h, since 5.17) is needed for it. An older version that has the member may
/// be a distribution's that took over the rest as well: then it is not known.
fn deduplicates(types: PageTypes, release: &str, since: Option<(u32, u32)>) -> Option<bool> {
    let Some(since) = since.filter(|_| types.has_vmemmap_shift) else { return Some(false) };
    (first_two(release)? >= since).then_some(true)
}

/// Since 6.6 (e96d9a938e89, one commit for both) a kernel refuses to write, and to take, a block that leaves nothing usable. An
/// older release may be a distribution's that took the commit over.
#[must_use]
pub fn allows_empty(release: &str) -> Option<bool> {
    (first_two(release)? >= (6, 6)).then_some(false)
}

/// `nd_pfn_supported_alignments()` in drivers/nvdimm/pfn_devs.c for x86_64; PREEMPT_RT has no transparent huge pages. `version` is
/// the kernel's, as `uname -v` prints it.
#[must_use]
pub fn usual_aligns(page_size: u64, version: &str) -> Option<Aligns> {
    if version.contains("PREEMPT_RT") {
        return Some(Aligns::page_alone(page_size));
    }
    cfg!(target_arch = "x86_64").then_some(Aligns::X86_64)
}

/// The same by the release of a kernel for x86_64 that does not run: distributions name those of PREEMPT_RT `6.12.94-rt-amd64`.
#[must_use]
pub fn x86_64_aligns(release: &str) -> Aligns {
    let is_realtime = release.split(['-', '+', '.']).any(|part| part.starts_with("rt"));
    if is_realtime { Aligns::page_alone(4096) } else { Aligns::X86_64 }
}

/// The first two numbers of a release such as `6.1.0-50-amd64`, which distributions keep. They may have taken over later changes.
fn first_two(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::btf_writer::Writer;

    #[test]
    fn a_release_shows_whether_an_empty_block_is_refused() {
        let releases = ["6.6.0", "6.12.117+deb13-cloud-amd64", "7.3.4"];
        assert_eq!(releases.map(allows_empty), [Some(false); 3]);
        assert_eq!(["6.5.13", "6.1.0-50-amd64", "5.14.0-362.el9", "next"].map(allows_empty), [None; 4]);
    }

    #[test]
    fn preempt_rt_offers_a_page_alone() {
        let rt = usual_aligns(4096, "#1 SMP PREEMPT_RT Debian 6.12.117-1 (2026-01-01)");
        assert_eq!(rt, Some(Aligns::page_alone(4096)));
        assert_ne!(usual_aligns(4096, "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1"), rt);
    }

    #[test]
    fn deduplication_takes_the_member_and_a_version_that_has_it() {
        let btf = |has_shift: bool| {
            let mut types = Writer::new();
            let long = types.int("unsigned long", 8);
            let members: &[(&str, u32, u32)] = if has_shift { &[("vmemmap_shift", long, 0)] } else { &[] };
            types.structure("dev_pagemap", 8, members);
            btf::Btf::from_reader(types.bytes().as_slice(), "test").unwrap()
        };
        let (x86_64, power) = (Some((5, 19)), Some((6, 6)));
        for (release, since, known) in [
            ("5.19.0", x86_64, Some(true)),
            ("6.1.0-50-amd64", x86_64, Some(true)),
            ("7.3.4-cloud-amd64", x86_64, Some(true)),
            ("5.18.19", x86_64, None),
            ("5.14.0-362.el9.x86_64", x86_64, None),
            ("6.5.13", power, None),
            ("6.6.1", power, Some(true)),
            ("next", x86_64, None),
            ("6.12.0", None, Some(false)),
        ] {
            assert_eq!(deduplicates(PageTypes::of(&btf(true)), release, since), known, "{release}");
            assert_eq!(
                deduplicates(PageTypes::of(&btf(false)), release, since),
                Some(false),
                "{release} without the member"
            );
        }
    }
}
