//! Events about devices that no namespace owns, as lines.

use super::line::by_actor;
use crate::model::device::MemmapPlace;
use crate::model::event::{DeviceAppeared, DeviceChanged, DeviceDisappeared, DeviceId, DeviceUse, MemoryLeftOnline};
use crate::model::units::Bytes;

pub(super) fn appeared(it: &DeviceAppeared) -> String {
    format!("device   {} appeared: {}", subject(&it.id, &it.used), parts(&it.used).join(", "))
}

/// Only what changed.
pub(super) fn changed(it: &DeviceChanged) -> String {
    let sizes = it.before.size_bytes != it.after.size_bytes;
    let parts = |used: &DeviceUse| {
        let size = used.size_bytes.filter(|_| sizes).map(|bytes| Bytes(bytes).to_string());
        size.into_iter().chain(parts(used)).collect::<Vec<_>>()
    };
    let (before, after) = (parts(&it.before), parts(&it.after));
    let only = |these: &[String], those: &[String]| {
        let parts: Vec<_> = these.iter().filter(|part| !those.contains(part)).cloned().collect();
        if parts.is_empty() { "as now".to_owned() } else { parts.join(", ") }
    };
    format!("device   {}: {} -> {}", subject(&it.id, &it.after), only(&before, &after), only(&after, &before))
}

pub(super) fn disappeared(it: &DeviceDisappeared) -> String {
    let left = match it.left_online_bytes {
        Some(0) => String::new(),
        Some(bytes) => format!("; {} STAY ONLINE until the next boot", Bytes(bytes)),
        None => "; whether its memory stays online is unknown".to_owned(),
    };
    format!("device   {} disappeared, was {}{left}", subject(&it.id, &it.before), parts(&it.before).join(", "))
}

pub(super) fn left_online(it: &MemoryLeftOnline) -> String {
    format!(
        "device   {} ({}) was destroyed, {} STAY ONLINE as system RAM until the next boot{}",
        it.namespace.namespace,
        Bytes(it.namespace.size_bytes),
        Bytes(it.left_online_bytes),
        by_actor(it.by.as_ref())
    )
}

fn subject(id: &DeviceId, used: &DeviceUse) -> String {
    let parent = id.parent.as_ref().map(|parent| format!(" of {parent}")).unwrap_or_default();
    let size = used.size_bytes.map(|bytes| format!(", {}", Bytes(bytes))).unwrap_or_default();
    format!("{} ({}{parent}{size})", id.device, id.kind.as_str())
}

fn parts(used: &DeviceUse) -> Vec<String> {
    let driver = used.driver.as_deref().unwrap_or("no driver").to_owned();
    let blocks = |bytes: Option<u64>, what: &str| bytes.map(|bytes| format!("{} {what}", Bytes(bytes)));
    let memmap = match (used.memmap_place, used.memmap_dram_bytes) {
        (Some(MemmapPlace::Dram), Some(bytes)) => Some(format!("memmap {} of DRAM", Bytes(bytes))),
        (Some(MemmapPlace::Device), _) => Some("memmap on the device".to_owned()),
        (Some(MemmapPlace::None), _) => Some("no memmap".to_owned()),
        _ => None,
    };
    let offline = used.offline_bytes.filter(|bytes| *bytes > 0);
    [Some(driver), blocks(used.online_bytes, "online"), blocks(offline, "offline"), memmap]
        .into_iter()
        .flatten()
        .collect()
}
