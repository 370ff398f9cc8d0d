//! CXL memory and the dax bus through sysfs: regions made and removed, devices moved from driver to driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{GIB, modules, wait};

const CXL: &str = "/sys/bus/cxl/devices";
const DAX: &str = "/sys/bus/dax";
const MEMORY: &str = "/sys/devices/system/memory";
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Volatile.
    Ram,
    Pmem,
}

/// A committed region with its driver, over devices of 1 GiB each.
#[derive(Debug)]
pub struct Region {
    pub name: String,
    endpoints: Vec<String>,
}

impl Region {
    /// Makes a region of the devices with these serial numbers, interleaved if there are several.
    pub fn create(kind: Kind, serials: &[u64]) -> Result<Self> {
        for module in ["cxl_acpi", "cxl_pci", "cxl_mem", "cxl_pmem"] {
            modules::load(module)?;
        }
        let word = if kind == Kind::Ram { "ram" } else { "pmem" };
        let endpoints = serials.iter().map(|serial| {
            wait::until(&format!("the decoder of device {serial}"), TIMEOUT, || endpoint_decoder(*serial))
        });
        let endpoints = endpoints.collect::<Result<Vec<_>>>()?;
        let create = format!("decoder0.0/create_{word}_region");
        let name = text(&create)?;
        write(&create, &name)?;
        let region = |attribute: &str| format!("{name}/{attribute}");
        write(&region("interleave_granularity"), &text("decoder0.0/interleave_granularity")?)?;
        write(&region("interleave_ways"), &serials.len().to_string())?;
        if kind == Kind::Pmem {
            // The kernel compares the length with that of a line (`uuid_store`, drivers/cxl/core/region.c).
            let serial = serials.first().context("a region of no device")?;
            write(&region("uuid"), &format!("{serial:08x}-2222-4333-8444-555555555555\n"))?;
        }
        write(&region("size"), &format!("{:#x}", GIB * serials.len() as u64))?;
        for (number, endpoint) in endpoints.iter().enumerate() {
            write(&format!("{endpoint}/mode"), word)?;
            write(&format!("{endpoint}/dpa_size"), &format!("{GIB:#x}"))?;
            write(&region(&format!("target{number}")), endpoint)?;
        }
        write(&region("commit"), "1")?;
        fs::write("/sys/bus/cxl/drivers/cxl_region/bind", &name).with_context(|| format!("cannot enable {name}"))?;
        Ok(Self { name, endpoints })
    }

    /// Its memory stays where it is, since the decoders do.
    pub fn disable(&self) -> Result<()> {
        fs::write("/sys/bus/cxl/drivers/cxl_region/unbind", &self.name)
            .with_context(|| format!("cannot disable {}", self.name))
    }

    pub fn delete(self) -> Result<()> {
        self.disable()?;
        write(&format!("{}/commit", self.name), "0")?;
        write("decoder0.0/delete_region", &self.name)?;
        self.endpoints.iter().try_for_each(|endpoint| write(&format!("{endpoint}/dpa_size"), "0"))
    }
}

/// The first decoder of the endpoint of the device with this serial number.
fn endpoint_decoder(serial: u64) -> Option<String> {
    let names = names(Path::new(CXL));
    let of_device = |name: &&String| {
        let device = fs::canonicalize(Path::new(CXL).join(name).join("uport"));
        let found = device.ok().and_then(|device| fs::read_to_string(device.join("serial")).ok());
        found.is_some_and(|found| found.trim() == format!("{serial:#x}"))
    };
    let endpoint = names.iter().filter(|name| name.starts_with("endpoint")).find(of_device)?;
    let decoder = format!("decoder{}.0", endpoint.strip_prefix("endpoint")?);
    names.contains(&decoder).then_some(decoder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn text(attribute: &str) -> Result<String> {
    let text = fs::read_to_string(Path::new(CXL).join(attribute));
    Ok(text.with_context(|| format!("cannot read {attribute}"))?.trim().to_owned())
}

fn write(attribute: &str, value: &str) -> Result<()> {
    fs::write(Path::new(CXL).join(attribute), value).with_context(|| format!("cannot write {value} to {attribute}"))
}

/// The device of the dax bus that is in the dax region of this region.
pub fn dax_device(region: &Region) -> Result<String> {
    modules::load("dax_cxl")?;
    let devices = Path::new(DAX).join("devices");
    wait::until(&format!("a dax device of {}", region.name), TIMEOUT, || {
        let place = |name: &String| fs::canonicalize(devices.join(name)).ok();
        let within = |path: PathBuf| path.components().any(|part| part.as_os_str() == region.name.as_str());
        names(&devices).into_iter().find(|name| place(name).is_some_and(within))
    })
}

/// Binds a device to a driver, which it does not choose by itself.
pub fn bind(device: &str, driver: &str) -> Result<()> {
    let folder = Path::new(DAX).join("drivers").join(driver);
    fs::write(folder.join("new_id"), device).with_context(|| format!("cannot bind {device} to {driver}"))?;
    ensure!(folder.join(device).exists(), "{driver} did not take {device}");
    Ok(())
}

pub fn unbind(device: &str, driver: &str) -> Result<()> {
    let folder = Path::new(DAX).join("drivers").join(driver);
    // So that it does not take the device again.
    let _ = fs::write(folder.join("remove_id"), device);
    fs::write(folder.join("unbind"), device).with_context(|| format!("cannot unbind {device} from {driver}"))
}

/// Of a device without a driver.
pub fn set_align(device: &str, bytes: u64) -> Result<()> {
    fs::write(Path::new(DAX).join("devices").join(device).join("align"), bytes.to_string()).context("align")
}

pub fn block_size() -> Result<u64> {
    let text = fs::read_to_string(Path::new(MEMORY).join("block_size_bytes"))?;
    Ok(u64::from_str_radix(text.trim(), 16)?)
}

/// Lets the kernel set added memory online so that it goes offline again: nothing of its own may be there.
pub fn online_movable() -> Result<()> {
    fs::write(Path::new(MEMORY).join("auto_online_blocks"), "online_movable").context("auto_online_blocks")
}

/// Takes the memory blocks of this range offline; only memory that nobody uses goes.
pub fn offline(start: u64, size: u64) -> Result<()> {
    set_blocks(start, size, "online", "offline")
}

pub fn online(start: u64, size: u64) -> Result<()> {
    set_blocks(start, size, "offline", "online_movable")
}

fn set_blocks(start: u64, size: u64, from: &str, to: &str) -> Result<()> {
    let block = block_size()?;
    for number in start / block..(start + size) / block {
        let state = Path::new(MEMORY).join(format!("memory{number}/state"));
        if fs::read_to_string(&state)?.trim() == from {
            fs::write(&state, to).with_context(|| format!("memory block {number} stays {from}"))?;
        }
    }
    Ok(())
}
