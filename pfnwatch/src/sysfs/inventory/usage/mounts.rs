//! The mounts of every mount namespace, from the processes' mountinfo.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::nodes::Nodes;
use crate::model::inventory::DeviceUser;
use crate::model::shell_word::shell_word;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its devices, each with its role: `None` for the mounted one, else the option that names it, such as `logdev`.
    devices: Vec<(String, Option<String>)>,
    place: String,
    /// Its file system: `xfs`, `ext4`.
    kind: String,
    /// A process of the mount namespace, if it is not this process's own.
    pid: Option<u32>,
}

impl Mount {
    pub(super) fn user_of(&self, device: &str) -> Option<DeviceUser> {
        let Self { place, kind, pid, .. } = self;
        let (_, role) = self.devices.iter().find(|(name, _)| name == device)?;
        let role = role.as_ref().map_or("mounted at".to_owned(), |option| format!("the {option} of"));
        let umount = format!("umount {}", shell_word(place));
        let (whose, command) = match pid {
            Some(pid) => (
                format!(", in the mount namespace of process {pid}"),
                format!("nsenter --mount=/proc/{pid}/ns/mnt {umount}"),
            ),
            None => (String::new(), umount),
        };
        Some(DeviceUser { user: format!("/dev/{device} is {role} {place} ({kind}){whose}"), command })
    }
}

/// Each mount once: this process's own first, others only where they differ in place or devices.
pub(super) fn read(procfs: &Path, processes: &[(u32, PathBuf)], nodes: &Nodes) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    let mut mounts: Vec<Mount> = Vec::new();
    let own = (None, procfs.join("self"));
    let all = std::iter::once(own).chain(processes.iter().map(|(pid, path)| (Some(*pid), path.clone())));
    for (pid, process) in all {
        // Most processes share a namespace.
        if fs::read_link(process.join("ns/mnt")).is_ok_and(|namespace| !seen.insert(namespace)) {
            continue;
        }
        let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        for mount in table.lines().filter_map(|line| parse(line, pid, nodes)) {
            if !mounts.iter().any(|known| (&known.devices, &known.place) == (&mount.devices, &mount.place)) {
                mounts.push(mount);
            }
        }
    }
    mounts
}

/// A line of mountinfo (`man 5 proc`): `36 35 98:0 / /mnt rw - xfs /dev/pmem0 rw,logdev=/dev/pmem1`. `None` if it has no
/// device that is known.
fn parse(line: &str, pid: Option<u32>, nodes: &Nodes) -> Option<Mount> {
    let (mount, source) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (number, place) = (mount.next()?, mount.nth(1)?);
    let mut source = source.split(' ');
    let (kind, device, options) = (source.next()?, source.next()?, source.next().unwrap_or_default());
    // A file system of several devices has a number of its own.
    let mounted = nodes.block(number).or_else(|| nodes.name(device)).map(|device| (device, None));
    let others = options.split(',').filter_map(|option| {
        let (option, path) = option.split_once('=')?;
        Some((nodes.name(path)?, Some(option.to_owned())))
    });
    let devices: Vec<_> = mounted.into_iter().chain(others).collect();
    // procfs has blanks in paths as octal numbers.
    let place = place.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    (!devices.is_empty()).then(|| Mount { devices, place, kind: kind.to_owned(), pid })
}
