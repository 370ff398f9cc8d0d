//! A namespace's life through sysfs, as libndctl does it, without its many rescans: disable, enable, destroy.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{sysfs, wait};

/// How long the kernel's own threads may take for a request.
const TIMEOUT: Duration = Duration::from_secs(20);

pub fn disable(namespace: &str) -> Result<()> {
    let holder = sysfs::holder(namespace)?;
    for device in holder.iter().map(String::as_str).chain([namespace]) {
        if sysfs::driver(device).is_some() {
            sysfs::unbind(device)?;
        }
    }
    let Some(holder) = holder else { return Ok(()) };
    // An empty name detaches the namespace, and destroys the device unless it is its region's seed (claim.c).
    sysfs::write(&holder, "namespace", "\n")?;
    wait::until(&format!("{holder}'s end"), TIMEOUT, || gone_or_seed(&holder).then_some(()))
}

/// Enables a disabled namespace, and waits until it or its holder is bound: returns that device.
pub fn enable(namespace: &str) -> Result<String> {
    match sysfs::bind(namespace, "nd_pmem") {
        Ok(()) => return Ok(namespace.to_owned()),
        // The probe has found a block, and made a device that claims the namespace and is probed by itself.
        Err(error) if is_passed_on(&error) => (),
        Err(error) => return Err(error).with_context(|| format!("cannot enable {namespace}")),
    }
    wait::until(&format!("a driver for the holder of {namespace}"), TIMEOUT, || {
        sysfs::holder(namespace).ok().flatten().filter(|holder| sysfs::driver(holder).is_some())
    })
}

/// Destroys a namespace, enabled or not. Its info block stays on the media, without an owner.
pub fn destroy(namespace: &str) -> Result<()> {
    disable(namespace)?;
    // The room is free at once. The device goes too, later, unless it is its region's first one or its seed.
    sysfs::write(namespace, "size", "0")
}

/// The device that claims a namespace; an error if there is none.
pub fn holder(namespace: &str) -> Result<String> {
    match sysfs::holder(namespace)? {
        Some(holder) => Ok(holder),
        None => bail!("nobody claims {namespace}"),
    }
}

/// Up to 5.14 the driver core turns -ENXIO of a probe into "no such device" (drivers/base/dd.c).
fn is_passed_on(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENXIO | nix::libc::ENODEV))
}

fn gone_or_seed(device: &str) -> bool {
    if !sysfs::folder(device).exists() {
        return true;
    }
    let seeds = ["namespace_seed", "pfn_seed", "dax_seed", "btt_seed"];
    let regions = sysfs::devices("region");
    regions.iter().any(|region| seeds.iter().any(|seed| sysfs::text(region, seed).is_ok_and(|name| name == device)))
}
