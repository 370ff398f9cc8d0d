//! Plans over generated hosts: order, warnings, and the ways that a kernel leaves open.

mod shell;

use std::fs;
use std::path::Path;

use super::*;
use crate::cli::output::screens;
use crate::kernel::known_defects;
use crate::model::inventory::{InfoBlocks, Inventory};
use crate::model::kernel::KernelFacts;
use crate::model::memmap_return::MemmapVerdict;
use crate::testing::tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;

fn plan_of(max_struct_page: Option<u64>, build: impl Fn(&Tree) -> std::io::Result<()>) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    plan_below(folder.path(), max_struct_page)
}

fn plan_below(root: &Path, max_struct_page: Option<u64>) -> Plan {
    plan_if(MemmapVerdict::Returned, root, max_struct_page)
}

fn plan_if(memmap_return: MemmapVerdict, root: &Path, max_struct_page: Option<u64>) -> Plan {
    let roots = SysfsRoots { sysfs: root.to_owned(), procfs: root.join("proc"), dev: None };
    let thresholds = Thresholds::default();
    let scan = ScanResult::assess(
        Inventory::read(&roots).unwrap(),
        &InfoBlocks::default(),
        KernelFacts::sample(),
        &thresholds,
    );
    let page_cost = PageCost { bytes: max_struct_page, evidence: "test".to_owned(), allows_empty: None };
    let host = KernelParameters { max_struct_page, memmap_return, ..KernelParameters::from(&scan.kernel) };
    let context = PlanContext { host, page_cost: &page_cost, thresholds, usage: Usage::gather(&roots) };
    build(&context, &scan, &choose(&scan, &[]).unwrap())
}

fn regressed(id: u32, size: u64) -> Pmem {
    Pmem { id, size, start: (4 + 256 * u64::from(id)) * GIB, struct_page: 128, ..Pmem::default() }
}

/// The commands of ndctl.
fn commands(plan: &Plan, way: usize) -> Vec<&str> {
    plan.steps[0].ways[way].commands.iter().map(String::as_str).filter(|line| line.starts_with("ndctl ")).collect()
}

#[test]
fn the_screen() {
    let plan = plan_of(Some(128), |tree| tree.namespace(&regressed(0, 16 * GIB)));
    let text = plan.text();
    let (steps, _checks) = text.split_once("\n# Checks").unwrap();
    screens::compare("plan", steps);
}

#[test]
fn a_good_kernel_needs_one_way_and_gives_it_all_back() {
    let plan = plan_of(Some(64), |tree| tree.namespace(&regressed(0, 16 * GIB)));
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!((step.excess_bytes, step.gain_on_this_kernel_bytes), (256 << 20, Some(256 << 20)));
    assert_eq!(step.ways.len(), 1);
    assert_eq!(step.ways[0].usable_bytes, Some(16 * GIB - (258 << 20)));
    assert_eq!(
        commands(&plan, 0),
        [
            "ndctl disable-namespace namespace0.0",
            "ndctl read-infoblock namespace0.0 --output=namespace0.0.infoblock",
            "ndctl create-namespace --reconfig=namespace0.0 --mode=fsdax --map=dev --align=2097152",
        ]
    );
}

#[test]
fn a_regressed_kernel_has_ways_around_it() {
    let plan = plan_of(Some(128), |tree| tree.namespace(&regressed(0, 16 * GIB)));
    let step = &plan.steps[0];
    assert_eq!(step.gain_on_this_kernel_bytes, Some(0));
    let usable: Vec<_> = step.ways.iter().map(|way| way.usable_bytes.unwrap() >> 20).collect();
    assert_eq!(usable, [16384 - 258, 16384 - 2, 16384 - 258]);
    assert!(step.ways[1].title.contains("256 MiB of DRAM"), "{step:?}");
    assert!(commands(&plan, 1)[2].contains("--map=mem"));
    assert_eq!(
        commands(&plan, 2)[2..],
        [
            "ndctl create-namespace --reconfig=namespace0.0 --mode=raw",
            "ndctl disable-namespace namespace0.0",
            "ndctl write-infoblock --mode=fsdax --map=dev --align=2097152 namespace0.0",
            "ndctl enable-namespace namespace0.0",
        ]
    );
    let text = plan.text();
    assert!(text.contains("same map it would return 0 B") && text.contains("Nothing is run"), "{text}");
}

/// With 2 MiB pieces of memmap in DRAM, which this kernel may not return.
#[test]
fn map_mem_is_not_offered_without_its_loss() {
    let plan_if = |memmap_return, pmem: &Pmem| {
        let folder = tempfile::tempdir().unwrap();
        Tree::new(folder.path()).unwrap().namespace(pmem).unwrap();
        plan_if(memmap_return, folder.path(), Some(128)).steps.remove(0).ways.remove(1).title
    };
    let on_release = |release| MemmapVerdict::of_release(known_defects::may_lose_memmap(release));
    let fsdax = regressed(0, 16 * GIB);
    let loss =
        "of DRAM for the memmap (this kernel is suspected to lose that DRAM at each disable, until the next boot)";
    assert!(plan_if(on_release("6.18.15"), &fsdax).ends_with(loss));
    assert!(plan_if(on_release("6.18.39"), &fsdax).ends_with("256 MiB of DRAM for the memmap"));
    let by_code = plan_if(MemmapVerdict::NotReturned, &fsdax);
    assert!(
        by_code.ends_with("of DRAM for the memmap (this kernel loses that DRAM at each disable, until the next boot)")
    );
    assert!(
        plan_if(MemmapVerdict::NotReturned, &Pmem { dax: true, ..fsdax }).ends_with("64 MiB of DRAM for the memmap"),
        "deduplicated: not affected"
    );
}

/// ndctl's block counts from address 0: with a start that is no multiple of the align it would be refused.
#[test]
fn no_block_by_hand_where_it_would_not_fit() {
    let odd = Pmem { start: 4 * GIB + (2 << 20), align: GIB, size: 256 * GIB, struct_page: 128, ..Pmem::default() };
    let plan = plan_of(Some(128), |tree| tree.namespace(&odd));
    assert_eq!(plan.steps[0].ways.len(), 2, "{plan:?}");
}

#[test]
fn an_unknown_kernel_is_not_assumed_to_be_good() {
    let plan = plan_of(None, |tree| tree.namespace(&regressed(0, 16 * GIB)));
    let step = &plan.steps[0];
    assert_eq!((step.gain_on_this_kernel_bytes, step.ways.len()), (None, 3));
    assert!(step.ways[0].title.contains("pfnwatch kernel --running"));
}

#[test]
fn what_is_in_use_comes_last_with_its_warnings() {
    let plan = plan_of(Some(64), |tree| {
        tree.region(0, 4 * GIB, 4096 * GIB)?;
        tree.write("region0", &[("read_only", "1")])?;
        tree.namespace(&regressed(0, 128 * GIB))?;
        tree.namespace(&regressed(1, 16 * GIB))?;
        tree.namespace(&regressed(2, 32 * GIB))?;
        tree.namespace(&Pmem { struct_page: 64, ..regressed(3, 32 * GIB) })?;
        tree.write("../../../proc/self", &[("mountinfo", "1 1 0:40 / /mnt rw - btrfs /dev/pmem0 rw")])
    });
    let order: Vec<_> = plan.steps.iter().map(|step| step.namespace.as_str()).collect();
    assert_eq!(order, ["namespace0.2", "namespace0.1", "namespace0.0"]);
    let last = &plan.steps[2];
    assert!(last.in_use && !plan.steps[0].in_use);
    assert!(last.ways[0].commands.is_empty());
    for warning in ["no commands: region0 is read-only", "back up everything"] {
        assert!(last.warnings.iter().any(|line| line.contains(warning)), "{last:?}");
    }
    let text = plan.text();
    assert!(text.contains("In use: /dev/pmem0 is mounted at /mnt (btrfs). To end that: umount /mnt\n"), "{text}");
}

#[test]
fn system_ram_and_legacy_regions_are_seen() {
    let plan = plan_of(Some(64), |tree| {
        let pmem = Pmem { dax: true, ..regressed(0, 16 * GIB) };
        tree.region(0, 4 * GIB, 16 * GIB)?;
        tree.write("region0", &[("nstype", "4")])?;
        tree.namespace(&pmem)?;
        fs::remove_file(tree.device("namespace0.0/uuid"))?;
        tree.dax_driver(&pmem, "kmem")
    });
    let step = &plan.steps[0];
    assert_eq!(step.users[0].command, "daxctl reconfigure-device --force --mode=devdax dax0.0");
    let commands = &step.ways[0].commands;
    // Without a uuid it is identified by its place.
    let same = "pfnwatch_same namespace0.0 resource=0x100000000 size=17179869184 block=00000002-";
    assert!(commands.iter().any(|line| line.starts_with(same)), "{commands:?}");
    assert!(commands.iter().any(|line| line == "pfnwatch_unused dax0.0"), "{commands:?}");
    assert!(commands.iter().any(|line| line.ends_with("--mode=devdax --map=dev --align=2097152 --no-autolabel")));
}

/// Without root there is no address, and an e820 region has no uuid.
#[test]
fn no_commands_for_what_cannot_be_identified() {
    let plan = plan_of(Some(64), |tree| {
        tree.namespace(&regressed(0, 32 * GIB))?;
        fs::remove_file(tree.device("namespace0.0/uuid"))?;
        fs::remove_file(tree.device("namespace0.0/resource"))
    });
    let step = &plan.steps[0];
    assert!(step.ways[0].commands.is_empty() && step.warnings[1].contains("run `plan` as root"), "{step:?}");
}

/// ndctl would refuse it only after the namespace was disabled.
#[test]
fn what_ndctl_would_refuse_is_said_before() {
    let plan = plan_of(Some(64), |tree| {
        tree.region(0, 4 * GIB, 4096 * GIB)?;
        tree.write("region0", &[("mappings", "3")])?;
        tree.namespace(&regressed(0, 16 * GIB))
    });
    let step = &plan.steps[0];
    assert!(step.ways[0].commands.is_empty() && step.warnings[1].contains("ndctl would refuse"), "{step:?}");
    let coarse = plan_of(Some(64), |tree| {
        tree.region(0, 4 * GIB, 4096 * GIB)?;
        tree.namespace(&Pmem { align: GIB, ..regressed(0, 256 * GIB + (16 << 20)) })
    });
    let step = &coarse.steps[0];
    assert!(step.ways[0].commands.is_empty() && step.warnings[1].contains("not a multiple of 1 GiB x 1"), "{step:?}");
}

/// 64 MiB are missing at the end, and nothing is oversize.
#[test]
fn what_an_older_kernel_has_cut_off_is_planned() {
    let cut_off = |cut: u64| {
        plan_of(Some(64), |tree| {
            let pmem = Pmem { size: 4 * GIB, start: 4 * GIB, ..Pmem::default() };
            tree.namespace(&pmem)?;
            tree.write(&pmem.holder(), &[("size", &(4 * GIB - (66 << 20) - cut).to_string())])
        })
    };
    let plan = cut_off(64 << 20);
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!((step.usable_bytes, step.excess_bytes), (4_158_652_416, 64 << 20));
    assert_eq!(step.gain_on_this_kernel_bytes, Some(64 << 20));
    assert_eq!(step.ways[0].usable_bytes, Some(4_225_761_280));
    assert!(step.cause.starts_with("64 MiB cut off at the end by an older kernel"), "{step:?}");
    assert!(plan.text().contains("64 MiB to get back") && !step.ways[0].commands.is_empty(), "{plan:?}");
    assert!(cut_off(0).steps.is_empty());
}

/// Each is within the threshold, their sum is not: all are in the plan.
#[test]
fn many_small_ones_are_planned_together() {
    let plan = plan_of(Some(64), |tree| (0..20).try_for_each(|id| tree.namespace(&regressed(id, 64 << 20))));
    assert_eq!((plan.steps.len(), plan.steps[0].excess_bytes), (20, 2 << 20));
}

#[test]
fn nothing_to_do_is_one_line() {
    let plan = plan_of(Some(64), |tree| tree.namespace(&Pmem::default()));
    assert!(plan.steps.is_empty());
    assert_eq!(plan.text(), "Nothing is oversize: there is nothing to rebuild.\n");
}

/// A kernel before 6.6 can panic when it disables a namespace with nothing usable.
#[test]
fn an_empty_namespace_is_not_touched() {
    let plan = plan_of(Some(64), |tree| {
        tree.namespace(&Pmem { size: 16 << 20, ..Pmem::default() })?;
        tree.write("pfn0.1", &[("size", "0"), ("resource", "0x101000000")])
    });
    let step = &plan.steps[0];
    assert!(step.warnings.iter().any(|warning| warning.contains("can panic when it is disabled")), "{step:?}");
    assert!(step.ways.iter().all(|way| way.commands.is_empty()), "{step:?}");
}
