//! What the eBPF programs are attached to: libnvdimm, as it is loaded now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use pfnwatch_common::layout::Layout;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::boot;
use super::boot_cache::BootCache;
use super::bpf_runtime::BpfRuntime;
use super::btf::Btf;
use super::layout::{Resolution, resolve};
use crate::kernel::programs::PROGRAMS;
use crate::os::paths::Paths;

const CACHED_LAYOUT: &str = "layout";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libnvdimm {
    Loaded,
    /// As a part of the kernel's image.
    BuiltIn,
    NotLoaded,
}

impl Libnvdimm {
    pub fn detect(paths: &Paths) -> Self {
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

pub struct Target {
    pub resolution: Resolution,
    /// The ids in the running kernel's own BTF of the functions that programs are attached to by type.
    pub functions: FunctionIds,
    pub runtime: BpfRuntime,
}

/// Reads the types of the running kernel, or of `btf_dir`.
pub fn open_types(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Btf> {
    Btf::open(&directory(paths, btf_dir).join("vmlinux")).context(
        "the kernel's types are not known: it must be built with CONFIG_DEBUG_INFO_BTF, or --btf-dir must name them",
    )
}

/// Collects what an attachment needs of the kernel's types: from `types`, if they were read before.
pub fn resolve_target(paths: &Paths, btf_dir: Option<&Path>, types: Option<Btf>) -> anyhow::Result<Target> {
    let types = types.map_or_else(|| open_types(paths, btf_dir), Ok)?;
    // An id is good for the BTF that it comes from, and the kernel takes it for its own.
    let own = btf_dir.map(|_| open_types(paths, None)).transpose().unwrap_or_else(|error| {
        tracing::warn!("{error:#}: programs that are attached by type stay off");
        None
    });
    let of_kernel = if btf_dir.is_some() { own.as_ref() } else { Some(&types) };
    // Each is looked for among all of the kernel's functions: once.
    let typed: BTreeSet<String> = PROGRAMS.iter().filter_map(|program| program.hook.typed_function()).collect();
    let functions =
        typed.into_iter().filter_map(|name| Some((of_kernel?.function_id(&name)?, name))).map(|(id, name)| (name, id));
    let version = fs::read_to_string(paths.procfs.join("sys/kernel/version")).context("the kernel's version")?;
    Ok(Target {
        functions: functions.collect(),
        resolution: resolve_over(paths, btf_dir, &types)?,
        runtime: BpfRuntime::of(&types, |name| types.function_id(name).is_some(), &version),
    })
}

fn directory(paths: &Paths, btf_dir: Option<&Path>) -> PathBuf {
    btf_dir.map_or_else(|| paths.sysfs.join("kernel/btf"), Path::to_path_buf)
}

/// Resolves the structures that the programs read against the BTF of the running kernel and libnvdimm, or of `btf_dir`.
pub fn resolve_layouts(paths: &Paths, btf_dir: Option<&Path>) -> anyhow::Result<Resolution> {
    resolve_over(paths, btf_dir, &open_types(paths, btf_dir)?)
}

/// Where the members of the running kernel's structures are. Kept until the next boot, or until another libnvdimm is loaded.
pub fn running_layout(paths: &Paths) -> anyhow::Result<Layout> {
    let Some((cache, build_id)) = BootCache::of_running(paths).zip(boot::libnvdimm_build_id(paths)) else {
        return Ok(resolve_layouts(paths, None)?.layout);
    };
    if let Some(layout) = cached_layout(&cache, &build_id) {
        return Ok(layout);
    }
    let layout = resolve_layouts(paths, None)?.layout;
    cache_layout(&cache, &build_id, &layout);
    Ok(layout)
}

fn cached_layout(cache: &BootCache, build_id: &str) -> Option<Layout> {
    let (of, bytes): (String, Vec<u8>) = cache.get(CACHED_LAYOUT)?;
    Layout::read_from_bytes(&bytes).ok().filter(|_| of == build_id)
}

fn cache_layout(cache: &BootCache, build_id: &str, layout: &Layout) {
    cache.put(CACHED_LAYOUT, &(build_id, layout.as_bytes()));
}

fn resolve_over(paths: &Paths, btf_dir: Option<&Path>, vmlinux: &Btf) -> anyhow::Result<Resolution> {
    if Libnvdimm::detect(paths) == Libnvdimm::BuiltIn {
        return Ok(resolve(vmlinux));
    }
    let module = directory(paths, btf_dir).join("libnvdimm");
    ensure!(
        module.exists(),
        "libnvdimm's types are not known: {} is not there. The kernel must be built with CONFIG_DEBUG_INFO_BTF_MODULES \
         (5.11 or newer), or --btf-dir must name them",
        module.display()
    );
    Ok(resolve(&Btf::open_split(&module, vmlinux)?))
}

/// The ids of functions in the running kernel's own BTF, by name.
pub type FunctionIds = BTreeMap<String, u32>;

#[cfg(test)]
mod tests {
    use pfnwatch_common::layout::FieldOffset;

    use super::*;
    use crate::kernel::boot_cache::tests::cache_in;

    #[test]
    fn a_layout_is_kept_for_its_libnvdimm_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache_in(folder.path(), "1");
        let mut layout = Layout::UNRESOLVED;
        layout.nd_pfn.align = FieldOffset::new(816).unwrap();
        cache_layout(&cache, "c0ffee", &layout);
        assert_eq!(cached_layout(&cache, "c0ffee"), Some(layout));
        assert_eq!(cached_layout(&cache, "decaf"), None);
        cache.put(CACHED_LAYOUT, &("c0ffee", [0_u8; 3]));
        assert_eq!(cached_layout(&cache, "c0ffee"), None, "too short");
    }
}
