//! What observing needs, and the exact inventory.

use super::Availability::{No, Unknown, Yes};
use super::NeededFor::{ExactInventory, Observe};
use super::Prerequisite;
use crate::kernel::features::config::Setting;
use crate::kernel::features::module::Module;
use crate::kernel::features::privileges::Privileges;
use crate::kernel::features::types::{ModuleTypes, Types};
use crate::kernel::features::{ATTRIBUTE_SHOW, Features};
use crate::kernel::layout::{FIELDS, Missing};
use crate::kernel::programs::{Hook, PROGRAMS, ProgramSpec};

const OWN_BTF: &str = "or give the files vmlinux and libnvdimm with --btf-dir DIR";

pub(super) fn judge(host: &Features) -> Vec<Prerequisite> {
    vec![
        privileges(host.privileges),
        kernel_types(host),
        libnvdimm(&host.modules.libnvdimm),
        libnvdimm_types(host),
        kprobes(host),
        functions(host),
        lockdown(host.lockdown.as_deref()),
        attributes(host),
    ]
}

fn privileges(found: Option<Privileges>) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("privileges", Observe, answer, seen);
    let Some(found) = found else {
        return row(Unknown, "/proc/self/status cannot be read".to_owned()).remedy("mount procfs at /proc");
    };
    let lacking = found.missing();
    if !lacking.is_empty() {
        return row(No, format!("this process lacks {}", lacking.join(" and "))).remedy("run as root: sudo pfnwatch …");
    }
    if !found.host_users {
        let seen = "this is the root of another user namespace, which the kernel does not trust with eBPF";
        return row(No, seen.to_owned()).remedy("run outside of the container, or in one with the host's users");
    }
    if !found.root {
        let seen = "the capabilities are there; the user is not root and cannot read the addresses of namespaces";
        return row(Yes, seen.to_owned());
    }
    row(Yes, "root, with CAP_BPF and CAP_PERFMON".to_owned())
}

fn kernel_types(host: &Features) -> Prerequisite {
    let row = |answer, seen| Prerequisite::new("kernel types (BTF)", Observe, answer, seen);
    match &host.types {
        Ok(Types { vmlinux, struct_page_bytes: Ok(bytes), .. }) => {
            row(Yes, format!("{}; struct page has {bytes} bytes", vmlinux.display()))
        }
        Ok(Types { struct_page_bytes: Err(reason), .. }) | Err(reason) => {
            row(No, reason.clone()).remedy(format!("use a kernel built with CONFIG_DEBUG_INFO_BTF, {OWN_BTF}"))
        }
    }
}

fn libnvdimm(module: &Module) -> Prerequisite {
    let row = |answer, seen: &str| Prerequisite::new("libnvdimm", Observe, answer, seen.to_owned());
    match module {
        Module::Loaded => row(Yes, "loaded"),
        Module::BuiltIn => row(Yes, "built in"),
        Module::Available => row(Yes, "installed, not loaded: pfnwatch waits for it"),
        Module::NotLoaded => row(Unknown, "not loaded, and what is installed cannot be seen: pfnwatch waits for it")
            .remedy("`modprobe libnvdimm`, if this host has persistent memory"),
        Module::Absent => row(Unknown, "not installed: this kernel can do nothing with persistent memory")
            .remedy("if this host has persistent memory, install the kernel package that carries libnvdimm"),
    }
}

fn libnvdimm_types(host: &Features) -> Prerequisite {
    let row = |answer, seen| Prerequisite::new("libnvdimm's types (BTF)", Observe, answer, seen);
    let Ok(types) = &host.types else {
        return row(No, "they build on the kernel's, which are not known".to_owned());
    };
    let remedy = format!("use a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES, {OWN_BTF}");
    let source = match &types.libnvdimm {
        ModuleTypes::Own(file) => file.display().to_string(),
        ModuleTypes::Kernel => "a part of the kernel's".to_owned(),
        ModuleTypes::Unusable(reason) => return row(No, reason.clone()).remedy(remedy),
        ModuleTypes::Missing(file) => {
            let file = file.display();
            let setting = host.config.as_ref().map(|config| config.setting("DEBUG_INFO_BTF_MODULES"));
            return match (setting, host.modules.libnvdimm.is_there()) {
                (_, true) => {
                    let seen = format!(
                        "{file} is not there although libnvdimm is loaded: this kernel has no BTF for modules \
                         (CONFIG_DEBUG_INFO_BTF_MODULES, which Linux 5.11 brought)"
                    );
                    row(No, seen).remedy(remedy)
                }
                (Some(Setting::Off), false) => {
                    row(No, "this kernel was built without CONFIG_DEBUG_INFO_BTF_MODULES".to_owned()).remedy(remedy)
                }
                (Some(_), false) => row(Yes, format!("{file} will be there when libnvdimm is loaded")),
                (None, false) => row(Unknown, format!("{file} is not there while libnvdimm is not loaded"))
                    .remedy("`modprobe libnvdimm`, and run this again"),
            };
        }
    };
    let missing: Vec<&Missing> = types.resolution.missing_required().collect();
    if missing.is_empty() {
        let known = FIELDS - types.resolution.missing.len();
        return row(Yes, format!("{source}; {known} of {FIELDS} members found"));
    }
    let reasons: Vec<String> = missing.iter().map(ToString::to_string).collect();
    row(No, reasons.join("; ")).remedy(
        "this kernel's structures are not those that pfnwatch knows: please report it with the kernel's release, \
         and use an older or newer one meanwhile",
    )
}

fn kprobes(host: &Features) -> Prerequisite {
    let row = |answer, seen: &str| Prerequisite::new("kprobes", Observe, answer, seen.to_owned());
    if !host.kprobe_events {
        let seen = "bus/event_source/devices/kprobe is not in sysfs: the kernel was built without kprobe events";
        return row(No, seen).remedy("use a kernel built with CONFIG_KPROBES and CONFIG_KPROBE_EVENTS");
    }
    let off = disarmed(host.kprobes_armed, host.ftrace_armed);
    match (off, host.kprobes_armed) {
        (Some((seen, remedy)), _) => row(No, seen).remedy(remedy),
        (None, Some(_)) => row(Yes, "there, and switched on"),
        // Only debugfs shows it; they are on unless somebody switched them off.
        (None, None) => row(Yes, "there"),
    }
}

/// Why probes attach without an error and never fire, and what to do; `None` if they fire, or if that is unknown.
pub fn disarmed(kprobes: Option<bool>, ftrace: Option<bool>) -> Option<(&'static str, &'static str)> {
    if kprobes == Some(false) {
        let seen = "kprobes are switched off: a probe attaches and never fires";
        return Some((seen, "echo 1 > /sys/kernel/debug/kprobes/enabled"));
    }
    let seen = "ftrace is switched off: a probe attaches and never fires";
    (ftrace == Some(false)).then_some((seen, "sysctl kernel.ftrace_enabled=1"))
}

fn functions(host: &Features) -> Prerequisite {
    let row = |answer, seen| Prerequisite::new("functions to probe", Observe, answer, seen);
    let symbols = match &host.symbols {
        Ok(symbols) => symbols,
        Err(reason) => return row(Unknown, reason.clone()).remedy("mount procfs at /proc"),
    };
    if !host.modules.libnvdimm.is_there() {
        return row(Unknown, "they come with libnvdimm, which is not loaded".to_owned());
    }
    // A tracepoint is no function; whether the kernel has it shows when it is attached to.
    let is_absent = |hook: Hook| {
        let function = hook.typed_function().unwrap_or_else(|| hook.function().to_owned());
        !matches!(hook, Hook::RawTracepoint(_)) && !symbols.has_function(&function)
    };
    let absent = PROGRAMS.iter().filter(|program| is_absent(program.hook));
    let (required, optional): (Vec<_>, Vec<_>) = absent.partition(|program| program.effect_if_missing.is_none());
    let names = |programs: &[&ProgramSpec]| {
        let mut names: Vec<&str> = programs.iter().map(|program| program.hook.function()).collect();
        names.dedup();
        names.join(", ")
    };
    if !required.is_empty() {
        return row(No, format!("this kernel has no function {}", names(&required)))
            .remedy("use a kernel built with CONFIG_NVDIMM_PFN; if it has that, please report it");
    }
    if optional.is_empty() {
        return row(Yes, "all of them are there".to_owned());
    }
    let lost: Vec<&str> = optional.iter().filter_map(|program| program.effect_if_missing).collect();
    row(Yes, format!("there, but for {}; not seen for it: {}", names(&optional), lost.join("; ")))
}

/// Whether the kernel locks down its memory, by [`crate::kernel::features::lockdown`].
pub fn lockdown(lockdown: Option<&str>) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("no lockdown", Observe, answer, seen);
    match lockdown {
        // LOCKDOWN_KPROBES and LOCKDOWN_BPF_READ_KERNEL are confidentiality reasons (include/linux/security.h).
        Some("confidentiality") => row(No, "confidentiality: the kernel lets nobody probe it".to_owned())
            .remedy("boot with lockdown=integrity, or none"),
        Some(level) => row(Yes, level.to_owned()),
        None => row(Yes, "the kernel reports none".to_owned()),
    }
}

fn attributes(host: &Features) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("info blocks in use", ExactInventory, answer, seen);
    match &host.symbols {
        Ok(symbols) if symbols.has_function(ATTRIBUTE_SHOW) => row(Yes, format!("{ATTRIBUTE_SHOW} can be probed")),
        Ok(_) => row(No, format!("this kernel has no function {ATTRIBUTE_SHOW}"))
            .remedy("read the block of a disabled namespace with `ndctl read-infoblock`"),
        Err(reason) => row(Unknown, reason.clone()),
    }
}
