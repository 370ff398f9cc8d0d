//! Memmaps of devices on the dax bus: as they are, and as another mode would make them.

#[cfg(test)]
mod tests;

use super::{MappedNamespace, dram_bytes, is_deduplicated, struct_pages};
use crate::model::device::{
    DeviceDriver, DeviceKind, DeviceMemory, MemmapPlace, MemoryBlocks, MemoryDevice, MemoryHotplug,
};
use crate::model::facts::{KernelParameters, NamespaceMode, Obstacle};
use crate::model::inventory::{Attribute, AttributeError};
use crate::model::units::Bytes;

/// What the memory of a device serves now.
#[must_use]
pub fn of_device(device: &MemoryDevice, hotplug: &MemoryHotplug, host: &KernelParameters) -> DeviceMemory {
    match &device.driver {
        DeviceDriver::DeviceDax => as_devdax(device, host),
        // With pages that are not compound (drivers/dax/fsdev.c).
        DeviceDriver::FsdevDax => character_device(device, NamespaceMode::Fsdax, host),
        DeviceDriver::Kmem => system_ram(device, hotplug, host),
        DeviceDriver::None => without_driver(device, hotplug, host),
        DeviceDriver::Other(name) => unknown(format!("its driver, {name}, is unknown to pfnwatch")),
    }
}

/// What it would cost under device_dax.
#[must_use]
pub fn as_devdax(device: &MemoryDevice, host: &KernelParameters) -> DeviceMemory {
    character_device(device, NamespaceMode::Devdax, host)
}

/// What it would cost under kmem, if all of its memory blocks were online; `asked`: to have the memmap on the device.
#[must_use]
pub fn as_system_ram(
    device: &MemoryDevice,
    hotplug: &MemoryHotplug,
    host: &KernelParameters,
    asked: bool,
) -> DeviceMemory {
    let whole = whole_blocks(device, hotplug).map(|online| MemoryBlocks { online, offline: 0 });
    added(device, hotplug, host, (Some(asked), whole))
}

/// `dev_dax_probe()` in drivers/dax/device.c maps all ranges without an altmap, unless a namespace has one.
fn character_device(device: &MemoryDevice, mode: NamespaceMode, host: &KernelParameters) -> DeviceMemory {
    if device.kind == DeviceKind::Pmem {
        return unknown("its namespace is not in the inventory, and its map is unknown".to_owned());
    }
    let (size, align) = match (&device.size, &device.align) {
        (Ok(size), Ok(align)) => (*size, *align),
        (Err(why), _) => return unreadable(device, "size", why),
        (_, Err(why)) => return unreadable(device, "align", why),
    };
    let mapped = |start, size| MappedNamespace { mode, map: None, start, size, align };
    let memmap = match &device.ranges {
        Ok(ranges) => sum(ranges.iter().map(|range| dram_bytes(&mapped(Some(range.start), range.size), host))),
        // Each range is a multiple of the align, so that their sum has the memmap of all.
        Err(_) => dram_bytes(&mapped(None, size), host),
    };
    let deduplicated = is_deduplicated(mode, align, host);
    let place = Some(MemmapPlace::Dram);
    let notes = memmap.is_none().then(|| why_unknown(host)).into_iter().collect();
    DeviceMemory { place, memmap, deduplicated, usable: Some(size), notes, ..DeviceMemory::default() }
}

fn system_ram(device: &MemoryDevice, hotplug: &MemoryHotplug, host: &KernelParameters) -> DeviceMemory {
    let mut memory = added(device, hotplug, host, (asked(device), device.blocks.clone()));
    match memory.offline {
        Some(0) | None => {}
        Some(bytes) => memory.notes.push(format!("{} are offline", Bytes(bytes))),
    }
    if let (Ok(whole), Ok(blocks)) = (whole_blocks(device, hotplug), &device.blocks)
        && let Some(missing) = whole.checked_sub(blocks.present()).filter(|missing| *missing > 0)
    {
        memory.notes.push(format!("{} are not added as system RAM", Bytes(missing)));
    }
    memory
}

/// Unbinding kmem leaves memory that cannot be taken offline (`dev_dax_kmem_remove()` in drivers/dax/kmem.c).
fn without_driver(device: &MemoryDevice, hotplug: &MemoryHotplug, host: &KernelParameters) -> DeviceMemory {
    match &device.blocks {
        Ok(blocks) if blocks.present() > 0 => {
            // The attribute may have been changed since.
            let asked = asked(device).filter(|asked| !asked);
            let mut memory = added(device, hotplug, host, (asked, Ok(*blocks)));
            memory.notes.push("no driver has it, and its memory stays system RAM until the next boot".to_owned());
            memory
        }
        Ok(_) | Err(AttributeError::Absent) => DeviceMemory {
            place: Some(MemmapPlace::None),
            memmap: Some(0),
            usable: Some(0),
            notes: vec!["no driver has it".to_owned()],
            ..DeviceMemory::default()
        },
        Err(why) => unreadable(device, "resource", why),
    }
}

/// Memory that is added in whole memory blocks, each with its own memmap (`create_altmaps_and_memory_blocks()` in
/// mm/memory_hotplug.c).
fn added(
    device: &MemoryDevice,
    hotplug: &MemoryHotplug,
    host: &KernelParameters,
    (asked, blocks): (Option<bool>, Attribute<MemoryBlocks>),
) -> DeviceMemory {
    let blocks = match blocks {
        Ok(blocks) => blocks,
        Err(why) => return unreadable(device, "resource", &why),
    };
    let mut memory = DeviceMemory {
        deduplicated: Some(false),
        memmap: struct_pages(blocks.present(), host),
        online: Some(blocks.online),
        offline: Some(blocks.offline),
        stranded: whole_blocks(device, hotplug).ok().and_then(|whole| device.size.clone().ok()?.checked_sub(whole)),
        ..DeviceMemory::default()
    };
    if memory.memmap.is_none() {
        memory.notes.push(why_unknown(host));
    }
    match memory.stranded {
        Some(0) | None => {}
        Some(bytes) => {
            memory.notes.push(format!("{} are stranded: they do not fill a memory block", Bytes(bytes)));
        }
    }
    match on_memory(asked, hotplug, host) {
        Ok(on_memory) => {
            let place = if on_memory { MemmapPlace::Device } else { MemmapPlace::Dram };
            let of_online = if on_memory { struct_pages(blocks.online, host) } else { Some(0) };
            memory.place = Some(place);
            memory.memmap_on_memory = Some(on_memory);
            memory.usable = of_online.and_then(|memmap| blocks.online.checked_sub(memmap));
            if asked == Some(true) && !on_memory {
                memory.notes.push(format!("memmap_on_memory has no effect: {}", why_not(hotplug)));
            }
        }
        Err(why) => memory.notes.push(format!("whether its memmap is on the device is unknown: {why}")),
    }
    memory
}

fn asked(device: &MemoryDevice) -> Option<bool> {
    match &device.memmap_on_memory {
        Ok(asked) => Some(*asked),
        // Before 6.8, kmem did not ask for it.
        Err(AttributeError::Absent) => Some(false),
        Err(_) => None,
    }
}

/// Whether the memmap of a device is on the device while it is system RAM; `None` if that is unknown.
#[must_use]
pub fn is_memmap_on_memory(device: &MemoryDevice, hotplug: &MemoryHotplug, host: &KernelParameters) -> Option<bool> {
    on_memory(asked(device), hotplug, host).ok()
}

/// Whether the kernel puts the memmap of added memory on that memory (`mhp_supports_memmap_on_memory()` in
/// mm/memory_hotplug.c); the error is why that is unknown. kmem keeps the attribute from being changed while it has the device.
fn on_memory(asked: Option<bool>, hotplug: &MemoryHotplug, host: &KernelParameters) -> Result<bool, String> {
    if asked == Some(false) || !is_enabled(hotplug)? {
        return Ok(false);
    }
    asked.ok_or("the device's memmap_on_memory cannot be read")?;
    let block = hotplug.block_size.as_ref().map_err(|why| format!("block_size_bytes: {why}"))?;
    let memmap = struct_pages(*block, host).ok_or("sizeof(struct page) is unknown")?;
    // What a page of page table entries covers, of 8 bytes each.
    let huge = host.page_size.saturating_mul(host.page_size / 8);
    if memmap.checked_rem(huge) != Some(0) || memmap >= *block {
        return Ok(false);
    }
    // It must be whole page blocks, too, and these are as large as a huge page where there are huge pages.
    if hotplug.has_huge_pages { Ok(true) } else { Err("the size of a page block is unknown".to_owned()) }
}

fn is_enabled(hotplug: &MemoryHotplug) -> Result<bool, String> {
    match &hotplug.memmap_on_memory {
        Ok(enabled) => Ok(*enabled),
        Err(AttributeError::Absent) => Ok(false),
        Err(why) => Err(format!("memory_hotplug.memmap_on_memory: {why}")),
    }
}

fn why_not(hotplug: &MemoryHotplug) -> String {
    match &hotplug.memmap_on_memory {
        Ok(true) => "the memmap of a memory block does not fill huge pages".to_owned(),
        Ok(false) => "the kernel's parameter memory_hotplug.memmap_on_memory is off".to_owned(),
        Err(why) => format!("the kernel's parameter memory_hotplug.memmap_on_memory: {why}"),
    }
}

/// Bytes of the device that fill memory blocks (`dax_kmem_range()` in drivers/dax/kmem.c).
fn whole_blocks(device: &MemoryDevice, hotplug: &MemoryHotplug) -> Attribute<u64> {
    let block = hotplug.block_size.clone()?;
    let whole = |start: u64, size: u64| {
        let end = start.checked_add(size)?;
        let first = start.checked_next_multiple_of(block)?;
        Some((end - end.checked_rem(block)?).saturating_sub(first))
    };
    let ranges = device.ranges.clone()?;
    sum(ranges.iter().map(|range| whole(range.start, range.size)))
        .ok_or_else(|| AttributeError::Malformed("an address beyond 64 bits".to_owned()))
}

fn sum(mut parts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    parts.try_fold(0_u64, |sum, part| sum.checked_add(part?))
}

fn why_unknown(host: &KernelParameters) -> String {
    let why =
        if host.struct_page.is_none() { "sizeof(struct page) is unknown" } else { "it cannot be computed to the byte" };
    format!("the bytes of its memmap are unknown: {why}")
}

fn unreadable(device: &MemoryDevice, attribute: &'static str, why: &AttributeError) -> DeviceMemory {
    unknown(match why {
        AttributeError::Denied => Obstacle::NeedsRoot("its address").to_string(),
        AttributeError::Vanished => Obstacle::Vanished.to_string(),
        why => format!("{}/{attribute}: {why}", device.name),
    })
}

fn unknown(note: String) -> DeviceMemory {
    DeviceMemory { notes: vec![note], ..DeviceMemory::default() }
}
