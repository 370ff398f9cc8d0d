//! Creates namespaces through sysfs as libndctl does, without its many rescans: ten times faster under emulation.

use std::{fs, io};

use anyhow::{Context, Result, ensure};
use nix::libc;

use crate::{command, modules, regions, sysfs};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Fsdax,
    Devdax,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    Dev,
    Mem,
}

#[derive(Clone, Debug)]
pub struct NamespaceSpec {
    /// Such as `region0`.
    pub region: String,
    /// The namespace's whole size; ignored on a region without labels, whose namespace has its size.
    pub size_bytes: u64,
    pub mode: Mode,
    pub map: Map,
    pub align_bytes: u64,
}

impl NamespaceSpec {
    /// With its memmap on the media (map=dev) and align 2 MiB, the defaults of ndctl.
    pub fn new(region: &str, mode: Mode, size_bytes: u64) -> Self {
        Self { region: region.to_owned(), size_bytes, mode, map: Map::Dev, align_bytes: 2 << 20 }
    }
}

/// A namespace with a holder that is set up but not bound: only its label is written to the media yet.
#[derive(Clone, Debug)]
pub struct PreparedNamespace {
    /// Such as `namespace0.0`.
    pub namespace: String,
    /// The region's seed that was taken: `pfn0.0` or `dax0.0`.
    pub holder: String,
    /// The label's uuid; empty without a label.
    pub namespace_uuid: String,
    pub block_uuid: String,
    pub driver: &'static str,
}

impl PreparedNamespace {
    /// Binds the holder: the kernel probes it in this process, and writes the info block. The error is the kernel's.
    pub fn bind(&self) -> io::Result<()> {
        sysfs::bind(&self.holder, self.driver)
    }

    /// Binds the holder while another driver holds 64 KiB of the namespace from `offset` on, for which the kernel must answer EBUSY.
    /// That driver writes to them.
    pub fn bind_while_held(&self, offset: u64) -> Result<()> {
        let held = format!("mem_address={:#x}", sysfs::number(&self.namespace, "resource")? + offset);
        command::run("/sbin/modprobe", &["ramoops", "mem_size=0x10000", "record_size=0x4000", &held])?;
        let bound = self.bind().map_err(|error| error.raw_os_error());
        modules::unload("ramoops")?;
        ensure!(bound == Err(Some(libc::EBUSY)), "{self:?}: {bound:?} while a part of it is held");
        Ok(())
    }
}

pub fn create(wanted: &NamespaceSpec) -> Result<PreparedNamespace> {
    let prepared = prepare(wanted)?;
    prepared.bind().with_context(|| format!("cannot bind {} for {wanted:?}", prepared.holder))?;
    Ok(prepared)
}

/// Sets a namespace and its holder up, without binding.
pub fn prepare(wanted: &NamespaceSpec) -> Result<PreparedNamespace> {
    let namespace = match sysfs::number(&wanted.region, "mappings")? {
        0 => whole_region(&wanted.region)?,
        _ => new_namespace(wanted)?,
    };
    claim(wanted, &namespace, &new_uuid()?)
}

/// Makes an empty namespace with a label, disabled: to be claimed later. Several can exist at a time, whereas a region
/// has one seed, which stays the same until it has been enabled.
pub fn prepare_empty(wanted: &NamespaceSpec) -> Result<String> {
    let namespace = new_namespace(wanted)?;
    sysfs::bind(&namespace, "nd_pmem").with_context(|| format!("cannot enable {namespace} raw"))?;
    sysfs::unbind(&namespace)?;
    Ok(namespace)
}

/// Makes the region's seed claim an existing, disabled namespace, without binding.
pub fn claim(wanted: &NamespaceSpec, namespace: &str, block_uuid: &str) -> Result<PreparedNamespace> {
    let (kind, driver) = match wanted.mode {
        Mode::Fsdax => ("pfn", "nd_pmem"),
        Mode::Devdax => ("dax", "dax_pmem"),
    };
    let map = match wanted.map {
        Map::Dev => "pmem",
        Map::Mem => "ram",
    };
    let holder = sysfs::seed(&wanted.region, &format!("{kind}_seed"))?;
    sysfs::write(&holder, "uuid", block_uuid)?;
    sysfs::write(&holder, "mode", map)?;
    sysfs::write(&holder, "align", &wanted.align_bytes.to_string())?;
    sysfs::write(&holder, "namespace", namespace)?;
    Ok(PreparedNamespace {
        namespace: namespace.to_owned(),
        holder,
        // A namespace without a label has no such attribute.
        namespace_uuid: sysfs::text(namespace, "uuid").unwrap_or_default(),
        block_uuid: block_uuid.to_owned(),
        driver,
    })
}

/// The namespace that a region names as its seed although it is in use, if it does. The kernel names the first one
/// after it has registered all (`nd_region_register_namespaces` in drivers/nvdimm/namespace_devs.c), and another once
/// that is enabled: if it is already enabled by then, which takes a busy host, it stays.
pub fn seed_in_use(region: &str) -> Result<Option<String>> {
    let seed = sysfs::seed(region, "namespace_seed")?;
    let is_in_use = sysfs::driver(&seed).is_some() || sysfs::holder(&seed)?.is_some();
    Ok(Some(seed).filter(|_| is_in_use))
}

fn new_namespace(wanted: &NamespaceSpec) -> Result<String> {
    let namespace = sysfs::seed(&wanted.region, "namespace_seed")?;
    sysfs::write(&namespace, "uuid", &new_uuid()?)?;
    sysfs::write(&namespace, "size", &wanted.size_bytes.to_string())?;
    Ok(namespace)
}

/// The one namespace of a region without labels, disabled: it is enabled as a raw one from the start.
fn whole_region(region: &str) -> Result<String> {
    let namespaces = regions::namespaces(region)?;
    let namespace = namespaces.first().with_context(|| format!("{region} has no namespace"))?;
    if sysfs::driver(namespace).is_some() {
        sysfs::unbind(namespace)?;
    }
    Ok(namespace.clone())
}

pub fn new_uuid() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel gives no uuid")?;
    Ok(uuid.trim().to_owned())
}
