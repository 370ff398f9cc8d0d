use pfnwatch_common::layout::Layout;

use super::Availability::*;
use super::NeededFor::*;
use super::*;
use crate::kernel::features::config::Config;
use crate::kernel::features::module::Module;
use crate::kernel::features::privileges::Privileges;
use crate::kernel::features::types::{ModuleTypes, Types};
use crate::kernel::features::{ATTRIBUTE_SHOW, GUARD_HOOK, KernelModules, PersistentMemory};
use crate::kernel::layout::{Missing, MissingReason, Resolution, Structure};
use crate::kernel::programs::{Hook, PROGRAMS};
use crate::kernel::symbols::Symbols;

type Change = fn(&mut Features);

fn symbols(without: &[&str]) -> Symbols {
    // As a kernel lists them: a hook by its function, and no tracepoint.
    let listed = PROGRAMS.iter().filter(|program| !matches!(program.hook, Hook::RawTracepoint(_) | Hook::Lsm(_)));
    let functions = listed.map(|program| program.hook.function());
    let wanted: Vec<&str> = functions.chain([GUARD_HOOK, ATTRIBUTE_SHOW]).collect();
    let there = wanted.iter().filter(|name| !without.contains(name));
    let lines: String = there.map(|name| format!("ffffffff81000000 t {name}\n")).collect();
    Symbols::read(lines.as_bytes(), "test", &wanted).unwrap()
}

pub(crate) fn host() -> Features {
    let resolution = Resolution { layout: Layout::UNRESOLVED, missing: Vec::new() };
    Features {
        release: Some("6.12.9".to_owned()),
        page_size_bytes: Some(4096),
        privileges: Some(Privileges { root: true, capabilities: u64::MAX, host_users: true }),
        types: Ok(Types {
            vmlinux: "/btf/vmlinux".into(),
            struct_page_bytes: Ok(64),
            libnvdimm: ModuleTypes::Own("/btf/libnvdimm".into()),
            resolution,
        }),
        modules: KernelModules { libnvdimm: Module::Loaded, nd_pmem: Module::Loaded, dax_pmem: Module::Loaded },
        symbols: Ok(symbols(&[])),
        kprobe_events: true,
        kprobes_armed: Some(true),
        ftrace_armed: Some(true),
        config: None,
        security_modules: Some(vec!["lockdown".to_owned(), "bpf".to_owned()]),
        lockdown: Some("none".to_owned()),
        bpf_file_system: true,
        persistent_memory: Some(PersistentMemory { regions: 1, namespaces: 1 }),
        dax_devices: 1,
    }
}

fn types(host: &mut Features) -> &mut Types {
    host.types.as_mut().unwrap()
}

fn missing(structure: Structure, field: &'static str, required: bool) -> Missing {
    Missing { structure, field, tried: &["x"], required, why: MissingReason::OutOfReach { structure, member: "x" } }
}

/// Changes a good host, and returns the answers for observing and enforcing and the rows that are not yes.
fn judged(change: impl FnOnce(&mut Features)) -> (Availability, Availability, Vec<Prerequisite>) {
    let mut host = host();
    change(&mut host);
    let rows = judge(&host);
    let (observes, enforces) = (answer(&rows, Observe), answer(&rows, Enforce));
    (observes, enforces, rows.into_iter().filter(|row| row.answer != Yes).collect())
}

/// The one row that is not yes: its name and answer. A no must have a remedy.
fn only(rows: &[Prerequisite]) -> (&'static str, Availability) {
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].answer != No || rows[0].remedy.is_some(), "{rows:?}");
    (rows[0].name, rows[0].answer)
}

#[test]
fn a_host_that_has_everything_lacks_nothing() {
    assert_eq!(judged(|_| {}), (Yes, Yes, vec![]));
}

#[test]
fn whatever_observing_needs_stops_both_when_it_is_missing() {
    let changes: [(&str, Change); 9] = [
        ("privileges", |host| host.privileges.as_mut().unwrap().capabilities = 0),
        ("privileges", |host| host.privileges.as_mut().unwrap().host_users = false),
        ("kernel types (BTF)", |host| types(host).struct_page_bytes = Err("no struct page".to_owned())),
        ("libnvdimm's types (BTF)", |host| types(host).libnvdimm = ModuleTypes::Missing("/btf/libnvdimm".into())),
        ("libnvdimm's types (BTF)", |host| types(host).libnvdimm = ModuleTypes::Unusable("damaged".to_owned())),
        ("libnvdimm's types (BTF)", |host| {
            types(host).resolution.missing.push(missing(Structure::NdPfn, "pfn_sb", true));
        }),
        ("kprobes", |host| host.kprobe_events = false),
        ("functions to probe", |host| host.symbols = Ok(symbols(&["nvdimm_setup_pfn"]))),
        ("no lockdown", |host| host.lockdown = Some("confidentiality".to_owned())),
    ];
    for (name, change) in changes {
        let (observes, enforces, rows) = judged(change);
        assert_eq!((observes, enforces, only(&rows)), (No, No, (name, No)));
    }
}

#[test]
fn what_only_enforcing_needs_leaves_observing_alone() {
    let changes: [(&str, Change); 3] = [
        ("BPF LSM built", |host| host.symbols = Ok(symbols(&[GUARD_HOOK]))),
        ("BPF LSM active", |host| host.security_modules = Some(vec!["lockdown".to_owned()])),
        ("the guard's types (BTF)", |host| {
            types(host).resolution.missing.push(missing(Structure::KernfsNode, "priv", false));
        }),
    ];
    for (name, change) in changes {
        let (observes, enforces, rows) = judged(change);
        assert_eq!((observes, enforces, only(&rows)), (Yes, No, (name, No)));
    }
}

#[test]
fn the_remedy_for_an_inactive_lsm_keeps_those_that_are_active() {
    let (.., rows) = judged(|host| host.security_modules = Some(vec!["lockdown".to_owned(), "yama".to_owned()]));
    assert!(rows[0].remedy.as_deref().unwrap().contains("lsm=lockdown,yama,bpf "));
}

#[test]
fn what_cannot_be_told_is_unknown_and_stops_nobody() {
    let (observes, enforces, rows) = judged(|host| host.security_modules = None);
    assert_eq!((observes, enforces, only(&rows)), (Yes, Unknown, ("BPF LSM active", Unknown)));
    let (observes, ..) = judged(|host| host.privileges = None);
    assert_eq!(observes, Unknown);
}

#[test]
fn switched_off_kprobes_are_told_and_unreadable_ones_are_taken_as_on() {
    let (observes, _, rows) = judged(|host| host.kprobes_armed = Some(false));
    assert_eq!((observes, only(&rows)), (No, ("kprobes", No)));
    assert_eq!(judged(|host| host.kprobes_armed = None).0, Yes);
    let (observes, _, rows) = judged(|host| host.ftrace_armed = Some(false));
    assert_eq!((observes, only(&rows)), (No, ("kprobes", No)));
    assert_eq!(judged(|host| host.ftrace_armed = None).0, Yes);
}

#[test]
fn a_module_that_is_not_loaded_yet_is_waited_for() {
    let not_loaded = |module: Module| {
        judged(|host| {
            host.modules.libnvdimm = module;
            types(host).libnvdimm = ModuleTypes::Missing("/btf/libnvdimm".into());
            host.symbols = Ok(symbols(&["nvdimm_setup_pfn"]));
            host.persistent_memory = None;
        })
    };
    for module in [Module::Available, Module::NotLoaded, Module::Absent] {
        let (observes, _, rows) = not_loaded(module);
        assert_eq!(observes, Unknown, "{rows:?}");
    }
}

#[test]
fn a_kernel_without_module_btf_is_told_even_before_the_module_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config-5.10.0"), "CONFIG_DEBUG_INFO_BTF=y\n").unwrap();
    let config = Config::read(folder.path(), folder.path(), "5.10.0");
    let (observes, _, rows) = judged(|host| {
        host.config = config;
        host.modules.libnvdimm = Module::Available;
        types(host).libnvdimm = ModuleTypes::Missing("/btf/libnvdimm".into());
    });
    assert_eq!(observes, No);
    assert!(rows[0].seen.contains("CONFIG_DEBUG_INFO_BTF_MODULES"), "{rows:?}");
    assert!(rows[0].remedy.as_deref().unwrap().contains("--btf-dir"));
}

#[test]
fn a_hook_and_a_tracepoint_are_not_missed_as_functions() {
    let rows = judge(&host());
    let row = rows.iter().find(|row| row.name == "functions to probe").unwrap();
    assert_eq!((row.answer, row.seen.as_str()), (Yes, "all of them are there"));
}

#[test]
fn an_optional_function_is_named_with_what_is_not_seen_for_it() {
    let mut host = host();
    host.symbols = Ok(symbols(&["nvdimm_bus_remove"]));
    let rows = judge(&host);
    let row = rows.iter().find(|row| row.name == "functions to probe").unwrap();
    assert_eq!(row.answer, Yes);
    assert!(row.seen.contains("nvdimm_bus_remove") && row.seen.contains("disabled"), "{row:?}");
}

#[test]
fn no_persistent_memory_and_no_bpf_file_system_are_only_said() {
    let (observes, enforces, rows) = judged(|host| {
        host.persistent_memory = None;
        host.bpf_file_system = false;
        host.modules.dax_pmem = Module::Available;
    });
    assert_eq!((observes, enforces), (Yes, Yes));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.needed_for == Information));
}

#[test]
fn without_the_kernels_types_nothing_that_builds_on_them_is_claimed() {
    let (observes, _, rows) = judged(|host| host.types = Err("/btf/vmlinux cannot be read".to_owned()));
    assert_eq!(observes, No);
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names, ["kernel types (BTF)", "libnvdimm's types (BTF)", "the guard's types (BTF)"]);
}

/// A small cloud kernel: libnvdimm built in, no kprobe events, no CONFIG_NVDIMM_PFN.
#[test]
fn each_missing_prerequisite_stands_by_itself() {
    let (observes, _, rows) = judged(|host| {
        host.modules.libnvdimm = Module::BuiltIn;
        host.kprobe_events = false;
        host.symbols = Ok(symbols(&["nvdimm_setup_pfn"]));
    });
    assert_eq!(observes, No);
    let missing: Vec<_> = unmet(&rows, Observe).map(ToString::to_string).collect();
    let [probes, functions] = missing.as_slice() else { panic!("{missing:?}") };
    assert!(probes.starts_with("kprobes: ") && probes.contains("CONFIG_KPROBE_EVENTS"), "{probes}");
    assert!(functions.starts_with("functions to probe: ") && functions.contains("CONFIG_NVDIMM_PFN"), "{functions}");
    assert!(!functions.contains("kprobe/type"), "{functions}");
}
