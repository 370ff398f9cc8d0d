//! What every guest must offer before anything else is worth testing; nothing here needs the agent.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use guest::{MIB, modules, ndctl, regions, sysfs};

#[test]
fn lsm_list_holds_bpf() -> Result<()> {
    let list = fs::read_to_string("/sys/kernel/security/lsm")?;
    ensure!(list.trim().split(',').any(|name| name == "bpf"), "active LSMs: {list}");
    Ok(())
}

#[test]
fn second_region_starts_at_an_odd_multiple_of_2_mib() -> Result<()> {
    let regions = regions::fresh()?;
    let start = sysfs::number(&regions.second, "resource")?;
    assert_eq!((start % (2 * MIB), start / (2 * MIB) % 2), (0, 1), "start {start:#x}");
    assert_eq!(sysfs::number(&regions.first, "resource")? % (1024 * MIB), 0);
    Ok(())
}

#[test]
fn e820_region_has_a_namespace_without_uuid() -> Result<()> {
    let regions = regions::fresh()?;
    assert_eq!(sysfs::number(&regions.legacy, "size")?, 512 * MIB);
    let namespaces = regions::namespaces(&regions.legacy)?;
    let [namespace] = namespaces.as_slice() else { panic!("one namespace was expected: {namespaces:?}") };
    // A namespace without labels has no such file, or an empty one.
    let uuid = sysfs::text(namespace, "uuid").unwrap_or_default();
    ensure!(uuid.is_empty() || uuid == "00000000-0000-0000-0000-000000000000", "uuid {uuid}");
    Ok(())
}

#[test]
fn nvdimm_stack_unloads_and_loads_again() -> Result<()> {
    // The numbers of regions may change with each load: the start is the identity.
    let start = sysfs::number(&regions::fresh()?.second, "resource")?;
    modules::unload_stack()?;
    ensure!(!Path::new("/sys/bus/nd").exists(), "the nd bus outlived its module");
    modules::load_stack()?;
    assert_eq!(sysfs::number(&regions::find()?.second, "resource")?, start);
    Ok(())
}

#[test]
fn module_btf() -> Result<()> {
    modules::load_stack()?;
    ensure!(Path::new("/sys/kernel/btf/libnvdimm").exists(), "libnvdimm has no BTF");
    Ok(())
}

#[test]
fn no_module_btf() -> Result<()> {
    modules::load_stack()?;
    ensure!(!Path::new("/sys/kernel/btf/libnvdimm").exists(), "libnvdimm has BTF here: 5.10 had none");
    Ok(())
}

#[test]
fn sector_and_raw_namespaces_are_cleared_away() -> Result<()> {
    let regions = regions::fresh()?;
    let sector = ndctl::create(&regions.first, &["-m", "sector", "-s", "64M"])?;
    let raw = ndctl::create(&regions.first, &["-m", "raw", "-s", "64M"])?;
    let holder = sysfs::holder(ndctl::text(&sector, "dev")?)?.unwrap_or_default();
    ensure!(holder.starts_with("btt"), "a sector namespace is held by {holder:?}");
    assert_eq!(sysfs::holder(ndctl::text(&raw, "dev")?)?, None);
    let regions = regions::fresh()?;
    assert_eq!(regions::namespaces(&regions.first)?, Vec::<String>::new());
    Ok(())
}
