//! The kernel's own reservation, by sysfs and by the info block: what the agent's tests rest on.

use std::time::Duration;

use anyhow::{Result, ensure};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::infoblock::InfoBlock;
use guest::{GIB, MIB, dmesg, ndctl, regions, sysfs, wait};

#[test]
fn ndctl_fsdax_map_dev_agrees_with_sysfs_and_block() -> Result<()> {
    let regions = regions::fresh()?;
    let mark = dmesg::Mark::now()?;
    let made = ndctl::create(&regions.first, &["-m", "fsdax", "-M", "dev", "-a", "2M", "-s", "1G"])?;
    let namespace = ndctl::text(&made, "dev")?;
    let Some(holder) = sysfs::holder(namespace)? else { panic!("nobody holds {namespace}") };
    let reservation = sysfs::number(&holder, "resource")? - sysfs::number(namespace, "resource")?;
    let (size, usable) = (sysfs::number(namespace, "size")?, sysfs::number(&holder, "size")?);
    // Held by hand against the table in nvdimm_setup_pfn's formula: 64 bytes for each of 262,142 pages, up to 2 MiB.
    assert_eq!((size, reservation), (GIB, 18 * MIB));

    let block = InfoBlock::read(namespace)?;
    assert_eq!(block.signature(), "NVDIMM_PFN_INFO");
    assert_eq!(block.dataoff() + block.start_pad(), reservation);
    assert_eq!(block.npfns() * 4096, usable);
    assert_eq!(size, reservation + usable + block.end_trunc());
    assert_eq!((block.mode(), block.align(), block.page_size(), block.page_struct_size()), (2, 2 * MIB, 4096, 64));
    assert_eq!(block.parent_uuid(), sysfs::text(namespace, "uuid")?);
    // For a claimed namespace ndctl shows the block's uuid.
    assert_eq!(block.uuid(), ndctl::text(&made, "uuid")?);
    let Some(holder) = sysfs::holder(namespace)? else { panic!("{namespace} was not brought back") };
    assert_eq!(block.uuid(), sysfs::text(&holder, "uuid")?);
    let warnings: Vec<_> = mark.since()?.into_iter().filter(|message| message.level < 4).collect();
    ensure!(warnings.is_empty(), "the kernel complained: {warnings:?}");
    Ok(())
}

#[test]
fn sysfs_alone_makes_devdax_map_mem() -> Result<()> {
    let regions = regions::fresh()?;
    let wanted = NamespaceSpec { map: Map::Mem, ..NamespaceSpec::new(&regions.second, Mode::Devdax, GIB) };
    let made = creation::create(&wanted)?;
    let reservation = sysfs::number(&made.holder, "resource")? - sysfs::number(&made.namespace, "resource")?;
    assert_eq!(reservation, 2 * MIB);
    assert_eq!(sysfs::text(&made.holder, "mode")?, "ram");
    assert_eq!(sysfs::holder(&made.namespace)?.as_deref(), Some(made.holder.as_str()));

    let block = InfoBlock::read(&made.namespace)?;
    assert_eq!(block.signature(), "NVDIMM_DAX_INFO");
    assert_eq!((block.uuid(), block.parent_uuid()), (made.block_uuid, made.namespace_uuid));
    assert_eq!((block.dataoff(), block.mode(), block.align()), (2 * MIB, 1, 2 * MIB));
    Ok(())
}

#[test]
fn align_of_1_gib_on_the_odd_base_pads_to_the_next_gib() -> Result<()> {
    let regions = regions::fresh()?;
    let wanted = NamespaceSpec { align_bytes: GIB, ..NamespaceSpec::new(&regions.second, Mode::Devdax, 4 * GIB) };
    ensure!(sysfs::choices(&sysfs::text(&wanted.region, "dax_seed")?, "supported_alignments")?.contains(&GIB));
    let made = creation::create(&wanted)?;
    let (start, usable_start) = (sysfs::number(&made.namespace, "resource")?, sysfs::number(&made.holder, "resource")?);
    assert_eq!((start % GIB, usable_start % GIB), (2 * MIB, 0));
    // 66 MiB of struct pages fit below the next multiple of 1 GiB, and as much as the base is off is cut at the end.
    assert_eq!(usable_start - start, GIB - 2 * MIB);
    let block = InfoBlock::read(&made.namespace)?;
    assert_eq!((block.dataoff(), block.end_trunc()), (GIB - 2 * MIB, 2 * MIB));
    Ok(())
}

#[test]
fn e820_namespace_takes_a_reservation_and_is_given_back() -> Result<()> {
    let regions = regions::fresh()?;
    let wanted = NamespaceSpec::new(&regions.legacy, Mode::Fsdax, 512 * MIB);
    let made = creation::create(&wanted)?;
    let reservation = sysfs::number(&made.holder, "resource")? - sysfs::number(&made.namespace, "resource")?;
    // 8 KiB and 64 bytes for each of 131,070 pages, up to 2 MiB.
    assert_eq!((made.namespace_uuid.as_str(), reservation), ("", 10 * MIB));
    let regions = regions::fresh()?;
    let [namespace] = &regions::namespaces(&regions.legacy)?[..] else { panic!("one namespace was expected") };
    assert_eq!(sysfs::holder(namespace)?, None, "its info block was found again");
    Ok(())
}

#[test]
fn many_namespaces_are_bound_again_at_once() -> Result<()> {
    let regions = regions::fresh()?;
    for number in 0..64 {
        let region = if number % 2 == 0 { &regions.first } else { &regions.second };
        let wanted = NamespaceSpec::new(region, Mode::Fsdax, 16 * MIB);
        creation::create(&wanted)?;
    }
    let enabled = || sysfs::devices("pfn").iter().filter(|pfn| sysfs::driver(pfn).is_some()).count();
    assert_eq!(enabled(), 64);
    for region in [&regions.first, &regions.second] {
        sysfs::unbind(region)?;
    }
    assert_eq!(enabled(), 0);
    for region in [&regions.first, &regions.second] {
        sysfs::bind(region, "nd_region")?;
    }
    wait::until("64 enabled namespaces", Duration::from_secs(30), || (enabled() == 64).then_some(()))
}
