//! What enforcing needs besides observing.

use super::Availability::{No, Unknown, Yes};
use super::NeededFor::Enforce;
use super::Prerequisite;
use crate::kernel::features::config::Setting;
use crate::kernel::features::{Features, GUARD_HOOK};
use crate::kernel::layout::{Missing, Structure};

pub(super) fn judge(host: &Features) -> Vec<Prerequisite> {
    vec![built(host), active(host), structures(host)]
}

fn built(host: &Features) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("BPF LSM built", Enforce, answer, seen);
    let remedy = "use a kernel built with CONFIG_BPF_LSM";
    match (&host.symbols, &host.config) {
        (Ok(symbols), _) if symbols.has_function(GUARD_HOOK) => row(Yes, format!("{GUARD_HOOK} is there")),
        (Ok(_), _) => row(No, format!("this kernel has no function {GUARD_HOOK}")).remedy(remedy),
        (Err(_), Some(config)) => match config.setting("BPF_LSM") {
            Setting::Off => row(No, format!("CONFIG_BPF_LSM is off in {}", config.file.display())).remedy(remedy),
            _ => row(Yes, format!("CONFIG_BPF_LSM is on in {}", config.file.display())),
        },
        (Err(reason), None) => row(Unknown, reason.clone()),
    }
}

/// Without `bpf` in the list the guard's program loads, attaches, and never runs.
fn active(host: &Features) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("BPF LSM active", Enforce, answer, seen);
    match &host.security_modules {
        None => row(Unknown, "kernel/security/lsm is not in sysfs: securityfs is not mounted".to_owned())
            .remedy("mount -t securityfs none /sys/kernel/security"),
        Some(modules) if modules.iter().any(|module| module == "bpf") => row(Yes, modules.join(",")),
        Some(modules) => {
            let list = modules.join(",");
            row(No, format!("bpf is not in the list: {list}"))
                .remedy(format!("boot with lsm={list},bpf on the kernel's command line"))
        }
    }
}

fn structures(host: &Features) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("the guard's types (BTF)", Enforce, answer, seen);
    let Ok(types) = &host.types else { return row(No, "the kernel's types are not known".to_owned()) };
    let missing: Vec<String> = types.resolution.missing_of(&[Structure::KernfsNode]).map(Missing::to_string).collect();
    if missing.is_empty() {
        row(Yes, "struct kernfs_node is known".to_owned())
    } else {
        row(No, missing.join("; ")).remedy("please report it with the kernel's release")
    }
}
