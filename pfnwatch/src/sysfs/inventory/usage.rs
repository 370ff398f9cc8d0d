//! Who uses a namespace: what is mounted, stacked or swapped on its device, and which processes have it open.

mod mounts;
mod nodes;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use self::mounts::Mount;
use self::nodes::Nodes;
use super::SysfsRoots;
use crate::model::inventory::{DeviceUser, Namespace};
use crate::model::shell_word::shell_word;

/// Deeper stacks of block devices are not followed.
const MAX_DEPTH: u8 = 8;

/// The use of a host's block devices and dax devices, gathered once. Devices have their names without `/dev/`.
#[derive(Debug, Default)]
pub struct Usage {
    /// `/sys/block`
    block: PathBuf,
    mounts: Vec<Mount>,
    /// Devices that serve as swap.
    swaps: Vec<String>,
    /// Loop devices, each with the device below it.
    loops: Vec<(String, String)>,
    openers: Vec<Opener>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opener {
    device: String,
    pid: u32,
    comm: String,
}

impl Usage {
    /// Without root only the caller's own processes are visible.
    #[must_use]
    pub fn gather(roots: &SysfsRoots) -> Self {
        let nodes = Nodes::read(roots);
        let block = roots.sysfs.join("block");
        let swaps = fs::read_to_string(roots.procfs.join("swaps")).unwrap_or_default();
        let loops = names_in(&block).into_iter().filter_map(|name| {
            let below = fs::read_to_string(block.join(&name).join("loop/backing_file")).ok()?;
            Some((name, nodes.name(below.trim())?))
        });
        let processes = processes(&roots.procfs);
        let mut openers: Vec<_> = processes.iter().flat_map(|(pid, path)| opened_by(*pid, path, &nodes)).collect();
        openers.sort();
        openers.dedup();
        Self {
            mounts: mounts::read(&roots.procfs, &processes, &nodes),
            swaps: swaps.lines().filter_map(|line| nodes.name(line.split_whitespace().next()?)).collect(),
            loops: loops.collect(),
            block,
            openers,
        }
    }

    /// The users of a namespace, those to be ended first in front.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Vec<DeviceUser> {
        let mut users = Vec::new();
        if let Some(disk) = namespace.disk() {
            self.collect(&self.block.join(disk), 0, &mut users);
        }
        let Some(device) = namespace.character_device() else { return users };
        users.extend(self.openers_of(&device));
        if namespace.system_ram {
            let command = format!("daxctl reconfigure-device --force --mode=devdax {device}");
            users.push(DeviceUser { user: format!("{device} is in use as system RAM"), command });
        }
        users
    }

    fn collect(&self, folder: &Path, depth: u8, users: &mut Vec<DeviceUser>) {
        let Some(device) = folder.file_name().and_then(|name| name.to_str()).filter(|_| depth < MAX_DEPTH) else {
            return;
        };
        let parts: Vec<_> = names_in(folder).into_iter().filter(|name| is_partition(name, device)).collect();
        for part in &parts {
            self.collect(&folder.join(part), depth + 1, users);
        }
        if !parts.is_empty() {
            let user = format!("/dev/{device} has partitions ({})", parts.join(", "));
            users.push(DeviceUser { user, command: format!("partx --delete /dev/{device}") });
        }
        for holder in names_in(&folder.join("holders")) {
            self.collect(&self.block.join(&holder), depth + 1, users);
            users.push(stacked(device, &holder, &self.block.join(&holder)));
        }
        for (name, _) in self.loops.iter().filter(|(_, below)| below == device) {
            self.collect(&self.block.join(name), depth + 1, users);
            let command = format!("losetup --detach /dev/{name}");
            users.push(DeviceUser { user: format!("/dev/{device} is below the loop device {name}"), command });
        }
        // What was mounted last is unmounted first.
        users.extend(self.mounts.iter().rev().filter_map(|mount| mount.user_of(device)));
        if self.swaps.iter().any(|swap| swap == device) {
            let command = format!("swapoff /dev/{device}");
            users.push(DeviceUser { user: format!("/dev/{device} is swap"), command });
        }
        users.extend(self.openers_of(device));
    }

    fn openers_of<'a>(&'a self, device: &'a str) -> impl Iterator<Item = DeviceUser> + 'a {
        self.openers.iter().filter(move |opener| opener.device == device).map(|Opener { device, pid, comm }| {
            let user = format!("/dev/{device} is open in process {pid} ({comm})");
            DeviceUser { user, command: format!("kill {pid}") }
        })
    }
}

/// The user that `holder` is, whose folder in sysfs has its kind.
fn stacked(device: &str, holder: &str, folder: &Path) -> DeviceUser {
    let attribute = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
    let name = attribute("dm/name").unwrap_or_else(|| holder.to_owned());
    let word = shell_word(&name);
    let command = match attribute("dm/uuid") {
        Some(uuid) if uuid.starts_with("LVM-") => format!("lvchange --activate n /dev/mapper/{word}"),
        Some(uuid) if uuid.starts_with("CRYPT-") => format!("cryptsetup close {word}"),
        Some(_) => format!("dmsetup remove {word}"),
        None if holder.starts_with("dm-") => format!("dmsetup remove {word}"),
        None if holder.starts_with("md") => format!("mdadm --stop /dev/{holder}"),
        None => format!("# take {holder} apart"),
    };
    let known_as = if name == holder { String::new() } else { format!(" ({name})") };
    DeviceUser { user: format!("/dev/{device} is claimed by {holder}{known_as}"), command }
}

/// `pmem0p1` is a partition of `pmem0`; `pmem0.1` and `pmem01` are not.
fn is_partition(name: &str, disk: &str) -> bool {
    let number = name.strip_prefix(disk).map(|rest| rest.strip_prefix('p').unwrap_or(rest));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names = super::list(folder).unwrap_or_default();
    names.sort();
    names
}

fn processes(procfs: &Path) -> Vec<(u32, PathBuf)> {
    let names = super::list(procfs).unwrap_or_default();
    let mut found: Vec<_> =
        names.into_iter().filter_map(|name| Some((name.parse().ok()?, procfs.join(name)))).collect();
    found.sort();
    found
}

fn opened_by(pid: u32, process: &Path, nodes: &Nodes) -> Vec<Opener> {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let files = files.filter_map(|entry| nodes.opened(&entry.path()));
    // A mapping outlives its file descriptor.
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    let maps = maps.lines().filter_map(|line| nodes.name(line.get(line.find("/dev/")?..)?));
    let devices: Vec<String> = files.chain(maps).collect();
    if devices.is_empty() {
        return Vec::new();
    }
    let comm = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
    devices.into_iter().map(|device| Opener { device, pid, comm: comm.clone() }).collect()
}
