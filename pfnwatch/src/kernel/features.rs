//! What this host offers: read once, judged by [`super::prerequisites`].

pub mod config;
pub mod module;
pub mod privileges;
pub mod types;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use self::config::Config;
use self::module::Module;
use self::privileges::Privileges;
use self::types::Types;
use super::symbols::Symbols;
use crate::kernel::libnvdimm::Libnvdimm;
use crate::kernel::programs::PROGRAMS;
use crate::os::paths::Paths;

/// The BPF LSM's own function for the guard's hook: it exists if the kernel was built with CONFIG_BPF_LSM.
pub const GUARD_HOOK: &str = "bpf_lsm_kernfs_init_security";
/// Prints a device's attributes: a probe on it reads the info block of a namespace that is enabled.
pub const ATTRIBUTE_SHOW: &str = "dev_attr_show";

#[derive(Clone, Debug)]
pub struct FeatureSources {
    pub paths: Paths,
    /// The modules of all kernels, /lib/modules.
    pub modules: PathBuf,
    /// The configurations of all kernels, /boot.
    pub boot: PathBuf,
}

impl FeatureSources {
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone(), modules: "/lib/modules".into(), boot: "/boot".into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelModules {
    pub libnvdimm: Module,
    /// Enables fsdax namespaces, and those without a mode.
    pub nd_pmem: Module,
    pub dax_pmem: Module,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistentMemory {
    pub regions: usize,
    /// Namespaces that have a size: a region's seed has none.
    pub namespaces: usize,
}

/// Findings on this host. An unknown one is `None`, or has the reason.
#[derive(Debug)]
pub struct Features {
    pub release: Option<String>,
    pub page_size_bytes: Option<u64>,
    pub privileges: Option<Privileges>,
    /// From BTF.
    pub types: Result<Types, String>,
    pub modules: KernelModules,
    pub symbols: Result<Symbols, String>,
    /// The kernel offers probes as perf events.
    pub kprobe_events: bool,
    /// /sys/kernel/debug/kprobes/enabled
    pub kprobes_armed: Option<bool>,
    /// /proc/sys/kernel/ftrace_enabled
    pub ftrace_armed: Option<bool>,
    pub config: Option<Config>,
    pub security_modules: Option<Vec<String>>,
    /// `none`, `integrity` or `confidentiality`.
    pub lockdown: Option<String>,
    /// A BPF file system is mounted at /sys/fs/bpf.
    pub bpf_file_system: bool,
    /// `None` if libnvdimm is not loaded.
    pub persistent_memory: Option<PersistentMemory>,
    /// Devices on the dax bus, those of namespaces included.
    pub dax_devices: usize,
}

impl Features {
    /// Reads everything. An unreadable source is a finding, not an error.
    pub fn gather(host: &FeatureSources, btf_dir: Option<&Path>) -> Self {
        let Paths { sysfs, procfs } = &host.paths;
        let release = first_line(&procfs.join("sys/kernel/osrelease"));
        let release_name = release.as_deref().unwrap_or_default();
        let modules = modules(host, release_name);
        let wanted: Vec<&str> =
            PROGRAMS.iter().map(|program| program.hook.function()).chain([GUARD_HOOK, ATTRIBUTE_SHOW]).collect();
        let security = sysfs.join("kernel/security");
        Self {
            page_size_bytes: crate::os::sysconf::page_size().ok(),
            privileges: Privileges::read(procfs),
            types: Types::read(sysfs, btf_dir, &modules.libnvdimm).map_err(|error| error.to_string()),
            symbols: Symbols::open(procfs, &wanted).map_err(|error| error.to_string()),
            kprobe_events: sysfs.join("bus/event_source/devices/kprobe/type").is_file(),
            kprobes_armed: kprobes_armed(sysfs),
            ftrace_armed: ftrace_armed(procfs),
            config: Config::read(procfs, &host.boot, release_name),
            security_modules: first_line(&security.join("lsm"))
                .map(|list| list.split(',').map(str::to_owned).collect()),
            lockdown: lockdown(sysfs),
            bpf_file_system: statfs(&sysfs.join("fs/bpf")).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC),
            persistent_memory: persistent_memory(sysfs),
            dax_devices: fs::read_dir(sysfs.join("bus/dax/devices")).into_iter().flatten().flatten().count(),
            modules,
            release,
        }
    }
}

fn modules(host: &FeatureSources, release: &str) -> KernelModules {
    let names = ["libnvdimm", "nd_pmem", "dax_pmem"];
    let [libnvdimm, nd_pmem, dax_pmem] = Module::detect(&host.paths.sysfs, &host.modules.join(release), names);
    let libnvdimm = match Libnvdimm::detect(&host.paths) {
        Libnvdimm::Loaded => Module::Loaded,
        Libnvdimm::BuiltIn => Module::BuiltIn,
        Libnvdimm::NotLoaded => libnvdimm,
    };
    KernelModules { libnvdimm, nd_pmem, dax_pmem }
}

fn first_line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Whether kprobes fire; `None` if that cannot be read.
pub fn kprobes_armed(sysfs: &Path) -> Option<bool> {
    first_line(&sysfs.join("kernel/debug/kprobes/enabled")).map(|enabled| enabled != "0")
}

/// Whether ftrace patches functions, which probes at their entries and trampolines need; `None` if that cannot be read.
pub fn ftrace_armed(procfs: &Path) -> Option<bool> {
    first_line(&procfs.join("sys/kernel/ftrace_enabled")).map(|enabled| enabled != "0")
}

/// `none`, `integrity` or `confidentiality`; `None` if the kernel has no lockdown.
pub fn lockdown(sysfs: &Path) -> Option<String> {
    selected(&first_line(&sysfs.join("kernel/security/lockdown"))?)
}

/// `none [integrity] confidentiality` is `integrity`.
fn selected(choice: &str) -> Option<String> {
    Some(choice.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn persistent_memory(sysfs: &Path) -> Option<PersistentMemory> {
    let mut found = PersistentMemory { regions: 0, namespaces: 0 };
    for device in fs::read_dir(sysfs.join("bus/nd/devices")).ok()?.flatten() {
        let name = device.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("region") {
            found.regions += 1;
        } else if name.starts_with("namespace")
            && first_line(&device.path().join("size")).is_some_and(|size| size != "0")
        {
            found.namespaces += 1;
        }
    }
    Some(found)
}
