//! The nd bus in sysfs: devices by name (`region0`, `namespace0.0`, `pfn0.1`, `dax1.0`), their attributes, their drivers.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use crate::wait;

const BUS: &str = "/sys/bus/nd";
const SEED_TIMEOUT: Duration = Duration::from_secs(20);

pub fn folder(device: &str) -> PathBuf {
    Path::new(BUS).join("devices").join(device)
}

/// Names of the devices that start with `prefix`, sorted; empty if there is no nd bus.
pub fn devices(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(BUS).join("devices")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

pub fn text(device: &str, attribute: &str) -> Result<String> {
    let text = fs::read_to_string(folder(device).join(attribute));
    Ok(text.with_context(|| format!("cannot read {device}/{attribute}"))?.trim_end().to_owned())
}

pub fn number(device: &str, attribute: &str) -> Result<u64> {
    let text = text(device, attribute)?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.with_context(|| format!("{device}/{attribute} is no number: {text}"))
}

/// The numbers of a list such as `4096 [2097152] 1073741824`.
pub fn choices(device: &str, attribute: &str) -> Result<Vec<u64>> {
    let text = text(device, attribute)?;
    let words = text.split_whitespace().map(|word| word.trim_matches(['[', ']']));
    words.map(|word| word.parse().with_context(|| format!("{device}/{attribute}: {text}"))).collect()
}

/// A region's seed, such as its `pfn_seed`, ready for use. The kernel names the next one before it is registered
/// (`nd_device_register` in drivers/nvdimm/bus.c leaves that to a thread), and shows its attributes before it has
/// probed it and listed it among the region's children (`device_add` in drivers/base/core.c): one that gets a size in
/// between is enabled raw, and one that is claimed is not found. The bus's `wait_probe` answers when all of that is
/// done.
///
/// When a region comes up its first namespace is named as the seed (`nd_region_register_namespaces` in
/// drivers/nvdimm/namespace_devs.c), whether it is in use or not, until its probe has ended: only a name that stays
/// until then is the seed's.
pub fn seed(region: &str, attribute: &str) -> Result<String> {
    wait::until(&format!("the {attribute} of {region}"), SEED_TIMEOUT, || {
        let name = text(region, attribute).ok().filter(|name| folder(name).join("uuid").exists())?;
        wait_for_seed(region).ok()?;
        text(region, attribute).ok().filter(|now| *now == name)
    })
}

/// Waits until the bus of a device has registered pending devices and probed all.
pub fn wait_for_seed(device: &str) -> Result<()> {
    // A region and a DIMM lie in the bus's folder, all else lies in a region's.
    let [near, far] = ["../wait_probe", "../../wait_probe"].map(|path| folder(device).join(path));
    let read = fs::read(near).or_else(|_| fs::read(&far));
    read.map(drop).with_context(|| format!("cannot read {}", far.display()))
}

pub fn write(device: &str, attribute: &str, value: &str) -> Result<()> {
    fs::write(folder(device).join(attribute), value)
        .with_context(|| format!("cannot write {value:?} to {device}/{attribute}"))
}

/// The driver that a device is bound to. The link alone is not sufficient: the kernel makes it before it probes, and
/// removes it if the probe fails (`really_probe` in drivers/base/dd.c). It probes each new seed of a region in a thread
/// of its own, which fails, and which on a busy machine may run long after the bind that has used up the seed before.
pub fn driver(device: &str) -> Option<String> {
    linked_driver(device)?;
    wait_for_seed(device).ok()?;
    linked_driver(device)
}

fn linked_driver(device: &str) -> Option<String> {
    let link = fs::read_link(folder(device).join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Writes a device's name to a driver's `bind`. The error is the kernel's own.
pub fn bind(device: &str, driver: &str) -> io::Result<()> {
    fs::write(Path::new(BUS).join("drivers").join(driver).join("bind"), device)
}

pub fn unbind(device: &str) -> Result<()> {
    let Some(driver) = driver(device) else { bail!("{device} is bound to no driver") };
    fs::write(Path::new(BUS).join("drivers").join(&driver).join("unbind"), device)
        .with_context(|| format!("cannot unbind {device} from {driver}"))
}

/// The device that claims a namespace (`pfnX.Y`, `daxX.Y`, `bttX.Y`); `None` if there is none.
pub fn holder(namespace: &str) -> Result<Option<String>> {
    Ok(Some(text(namespace, "holder")?).filter(|holder| !holder.is_empty()))
}

/// The block device of an enabled namespace, by its holder if it has one: `pmem0` or `pmem0s`.
pub fn block_device(device: &str) -> Result<String> {
    let dir = folder(device).join("block");
    let mut entries = fs::read_dir(&dir).with_context(|| format!("{device} has no block device"))?;
    let entry = entries.next().with_context(|| format!("{} is empty", dir.display()))?;
    Ok(entry.context("a folder that cannot be read")?.file_name().to_string_lossy().into_owned())
}
