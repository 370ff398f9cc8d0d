//! Which programs are attached on this kernel, and why the others are not. Pure.

use pfnwatch_common::names;
use thiserror::Error;

use crate::kernel::bpf_runtime::BpfRuntime;
use crate::kernel::layout::{Resolution, Structure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// At the entry of a function, by its symbol.
    Kprobe(&'static str),
    /// At the return of a function, by its symbol.
    Kretprobe(&'static str),
    /// At the exit of a function of vmlinux, by BTF: unlike a return probe it is not limited to a few calls at a time.
    Fexit(&'static str),
    /// On a security hook of vmlinux, by BTF.
    Lsm(&'static str),
    /// At a tracepoint of the kernel, with its arguments as they are.
    RawTracepoint(&'static str),
}

impl Hook {
    /// The function of vmlinux whose type is needed to attach there; `None` if a symbol or a name suffices.
    pub fn typed_function(self) -> Option<String> {
        match self {
            Self::Fexit(function) => Some(function.to_owned()),
            // kernel/bpf/bpf_lsm.c has a function for each hook.
            Self::Lsm(hook) => Some(format!("bpf_lsm_{hook}")),
            Self::Kprobe(_) | Self::Kretprobe(_) | Self::RawTracepoint(_) => None,
        }
    }

    pub const fn function(self) -> &'static str {
        match self {
            Self::Kprobe(at) | Self::Kretprobe(at) | Self::Fexit(at) | Self::Lsm(at) | Self::RawTracepoint(at) => at,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    pub name: &'static str,
    pub hook: Hook,
    /// The structures that it reads; the table of layouts marks the required members.
    pub reads: &'static [Structure],
    /// Whether it requires all of their members, even those that the table calls optional.
    pub reads_all: bool,
    /// What is not seen without it; `None` if nothing can be observed without it.
    pub effect_if_missing: Option<&'static str>,
}

const DEVICE: [Structure; 2] = [Structure::Device, Structure::DeviceType];

/// All programs, in the order in which they are attached: the end of an attempt before its start, so that the end of no
/// started attempt is missed.
pub const PROGRAMS: [ProgramSpec; 19] = [
    ProgramSpec {
        name: names::BIND_END,
        hook: Hook::Kprobe("__pm_runtime_idle"),
        reads: &[Structure::Device, Structure::DeviceDriver, Structure::NdRegion, Structure::NdBtt, Structure::Task],
        reads_all: false,
        effect_if_missing: Some("whether a set-up ended in an enabled namespace, and namespaces without a memmap"),
    },
    bind_result(
        names::BIND_RESULT,
        &[
            Structure::Device,
            Structure::DeviceType,
            Structure::DeviceDriver,
            Structure::NdPfn,
            Structure::NdRegion,
            Structure::NdNamespaceCommon,
            Structure::NdNamespaceIo,
        ],
        "why a driver does not accept a device",
    ),
    bind_result(names::BIND_RESULT_SPARE, &[], "the same of a few of many attempts at once"),
    ProgramSpec {
        name: names::SETUP_PFN_RETURN,
        hook: Hook::Kretprobe("nvdimm_setup_pfn"),
        reads: &[Structure::NdPfn],
        reads_all: false,
        effect_if_missing: None,
    },
    ProgramSpec {
        name: names::PFN_VALIDATE_RETURN,
        hook: Hook::Kretprobe("nd_pfn_validate"),
        reads: &[],
        reads_all: false,
        effect_if_missing: Some("whether an info block was made or met"),
    },
    ProgramSpec {
        name: names::SETUP_PFN_ENTER,
        hook: Hook::Kprobe("nvdimm_setup_pfn"),
        reads: &[Structure::NdPfn, Structure::NdNamespaceCommon, Structure::NdNamespaceIo, Structure::NdNamespacePmem],
        reads_all: false,
        effect_if_missing: None,
    },
    ProgramSpec {
        name: names::BUS_PROBE,
        hook: Hook::Kprobe("nvdimm_bus_probe"),
        reads: &DEVICE,
        reads_all: false,
        effect_if_missing: None,
    },
    ProgramSpec {
        name: names::BUS_REMOVE,
        hook: Hook::Kprobe("nvdimm_bus_remove"),
        reads: &DEVICE,
        reads_all: false,
        effect_if_missing: Some("that a device or a namespace is disabled"),
    },
    ProgramSpec {
        name: names::NAMESPACE_STORE,
        hook: Hook::Kprobe("nd_namespace_store"),
        reads: &DEVICE,
        reads_all: false,
        effect_if_missing: Some("that user space has a device claim a namespace"),
    },
    ProgramSpec {
        name: names::LABEL_UPDATE,
        hook: Hook::Kprobe("nd_pmem_namespace_label_update"),
        reads: &[Structure::NdNamespacePmem, Structure::NdNamespaceIo, Structure::NdNamespaceCommon],
        reads_all: false,
        effect_if_missing: Some(
            "that the label of a namespace is written or deleted; the guard allows creations on namespaces that are new",
        ),
    },
    ProgramSpec {
        name: names::PFN_VALIDATE_ENTER,
        hook: Hook::Kprobe("nd_pfn_validate"),
        reads: &[Structure::NdPfn, Structure::NdNamespaceIo],
        reads_all: true,
        effect_if_missing: Some("info blocks that are found outside a set-up; for the guard they are unknown"),
    },
    ProgramSpec {
        name: names::UUID_STORE_RETURN,
        hook: Hook::Kretprobe("nd_uuid_store"),
        reads: &[],
        reads_all: true,
        effect_if_missing: WITHOUT_UUIDS,
    },
    ProgramSpec {
        name: names::UUID_STORE_ENTER,
        hook: Hook::Kprobe("nd_uuid_store"),
        reads: &[Structure::Device, Structure::DeviceType, Structure::NdNamespaceCommon, Structure::NdNamespaceIo],
        reads_all: false,
        effect_if_missing: WITHOUT_UUIDS,
    },
    ProgramSpec {
        name: names::MEMMAP_REMOVED,
        hook: Hook::Kprobe("memunmap_pages"),
        reads: &[Structure::DevPagemap],
        reads_all: true,
        effect_if_missing: Some("that a memmap is removed: DRAM that the kernel does not return is not reported"),
    },
    ProgramSpec {
        name: names::MEMORY_BLOCKS_REMOVED,
        hook: Hook::Kprobe("remove_memory_block_devices"),
        reads: &[],
        reads_all: false,
        effect_if_missing: Some(
            "that system RAM is removed: DRAM of its memmap that the kernel does not return is not reported",
        ),
    },
    module_change(names::MODULE_LOAD, "module_load"),
    module_change(names::MODULE_FREE, "module_free"),
    guard(
        names::GUARD,
        "creations before anything is written: none can be refused, and none reported as one that would be",
    ),
    guard(names::GUARD_SPARE, "creations on a CPU on which another task was preempted inside the guard"),
];

const fn guard(name: &'static str, without: &'static str) -> ProgramSpec {
    ProgramSpec {
        name,
        hook: Hook::Lsm("kernfs_init_security"),
        reads: &[
            Structure::KernfsNode,
            Structure::Device,
            Structure::DeviceType,
            Structure::NdPfn,
            Structure::NdRegion,
            Structure::NdNamespaceCommon,
            Structure::NdNamespaceIo,
            Structure::NdNamespacePmem,
        ],
        reads_all: true,
        effect_if_missing: Some(without),
    }
}

const WITHOUT_UUIDS: Option<&str> = Some(
    "that user space gives a device or a namespace a uuid: the guard allows creations off a seed or on new namespaces",
);

const fn module_change(name: &'static str, tracepoint: &'static str) -> ProgramSpec {
    ProgramSpec {
        name,
        hook: Hook::RawTracepoint(tracepoint),
        reads: &[Structure::Module],
        reads_all: true,
        effect_if_missing: Some("that libnvdimm is reloaded: a guard that stays without an agent does not notice"),
    }
}

/// The program that reads info blocks for the inventory: attached by itself, and only while an inventory is read.
pub const BLOCK_READER: ProgramPlan = ProgramPlan {
    name: names::ATTRIBUTE_SHOW,
    hook: Hook::Kprobe("dev_attr_show"),
    disabled_reason: None,
    degraded_reason: None,
};

const fn bind_result(name: &'static str, reads: &'static [Structure], without: &'static str) -> ProgramSpec {
    ProgramSpec { name, hook: Hook::Fexit("really_probe"), reads, reads_all: false, effect_if_missing: Some(without) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramPlan {
    pub name: &'static str,
    pub hook: Hook,
    pub disabled_reason: Option<String>,
    /// Data that it cannot read, and runs without.
    pub degraded_reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nothing can be observed on this kernel: program `{program}` cannot be attached: {reason}")]
pub struct MissingRequiredProgram {
    pub program: &'static str,
    pub reason: String,
    pub failure: AttachFailure,
}

/// Whether an attachment that failed may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachFailure {
    /// It takes another kernel, another boot or other privileges: no BTF, no such function or hook, lockdown.
    Permanent,
    /// Memory, a resource that is in use, a signal, a pin.
    Transient,
}

/// Decides for each program. Whether a function exists is only known when a probe is attached.
///
/// # Errors
/// [`MissingRequiredProgram`] if a required program cannot run.
pub fn plan(kernel: &Resolution, runtime: BpfRuntime) -> Result<Vec<ProgramPlan>, MissingRequiredProgram> {
    PROGRAMS
        .iter()
        .filter(|spec| spec.name != names::GUARD_SPARE || runtime.skips_guard)
        .map(|spec| {
            let off = kernel.missing_of(spec.reads).find(|it| it.required || spec.reads_all).map(ToString::to_string);
            match (off, spec.effect_if_missing) {
                (Some(reason), None) => {
                    Err(MissingRequiredProgram { program: spec.name, reason, failure: AttachFailure::Permanent })
                }
                (off, without) => Ok(ProgramPlan {
                    name: spec.name,
                    hook: spec.hook,
                    degraded_reason: missing_layout(spec, kernel),
                    disabled_reason: off
                        .zip(without)
                        .map(|(reason, without)| format!("{reason}; not seen for it: {without}")),
                }),
            }
        })
        .collect()
}

/// Members that the kernel's BTF lacks and the program can do without: events then lack them, which is reported.
fn missing_layout(spec: &ProgramSpec, kernel: &Resolution) -> Option<String> {
    let missing: Vec<_> = kernel.missing_of(spec.reads).filter(|it| !it.required).map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

pub fn is_required(name: &str) -> bool {
    PROGRAMS.iter().any(|spec| spec.name == name && spec.effect_if_missing.is_none())
}

#[cfg(test)]
mod tests;
