//! Who uses a device: what is mounted, and which processes hold it open.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device's name without `/dev/`.
    pub device: String,
    pub place: String,
    /// Its file system: `xfs`, `ext4`.
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHandle {
    /// The device's name without `/dev/`.
    pub device: String,
    pub pid: u32,
    pub comm: String,
}

/// The use of a host's pmem and dax devices, gathered once.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub mounts: Vec<Mount>,
    pub open_handles: Vec<OpenHandle>,
}

impl Usage {
    /// Reads `procfs`. Without root only the caller's own processes are visible.
    #[must_use]
    pub fn gather(procfs: &Path) -> Self {
        let mounts =
            fs::read_to_string(procfs.join("self/mounts")).or_else(|_| fs::read_to_string(procfs.join("mounts")));
        Self { mounts: parse_mounts(&mounts.unwrap_or_default()), open_handles: openers(procfs) }
    }

    pub fn mounts_of<'a>(&'a self, disk: &'a str) -> impl Iterator<Item = &'a Mount> {
        self.mounts.iter().filter(move |mount| is_part_of(&mount.device, disk))
    }

    /// The processes that have a device, or a partition of it, open.
    pub fn openers_of<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a OpenHandle> {
        self.open_handles.iter().filter(move |opener| is_part_of(&opener.device, device))
    }
}

/// `pmem0` and `pmem0p1` are of `pmem0`; `pmem0.1` and `pmem01` are not.
fn is_part_of(device: &str, disk: &str) -> bool {
    let rest = device.strip_prefix(disk);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('p').is_some_and(|part| part.parse::<u32>().is_ok()))
}

/// The mounts of our devices in /proc/mounts, which has blanks in paths as `\040`.
fn parse_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let device = ours(words.next()?)?;
        let place = words.next()?.replace("\\040", " ");
        Some(Mount { device, place, kind: words.next()?.to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

fn ours(path: &str) -> Option<String> {
    let name = path.strip_prefix("/dev/")?;
    (name.starts_with("pmem") || name.starts_with("dax")).then(|| name.to_owned())
}

fn openers(procfs: &Path) -> Vec<OpenHandle> {
    let mut found: Vec<OpenHandle> =
        processes(procfs).into_iter().flat_map(|(pid, path)| openers_in(pid, &path)).collect();
    found.sort_by(|a, b| (&a.device, a.pid).cmp(&(&b.device, b.pid)));
    found.dedup();
    found
}

fn processes(procfs: &Path) -> Vec<(u32, PathBuf)> {
    let names = super::list(procfs).unwrap_or_default();
    names.into_iter().filter_map(|name| Some((name.parse().ok()?, procfs.join(name)))).collect()
}

fn openers_in(pid: u32, process: &Path) -> Vec<OpenHandle> {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let files = files.filter_map(|entry| fs::read_link(entry.path()).ok()).filter_map(|target| ours(target.to_str()?));
    // A mapping outlives its file descriptor.
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    let maps = maps.lines().filter_map(|line| ours(line.get(line.find("/dev/")?..)?));
    let devices: Vec<String> = files.chain(maps).collect();
    if devices.is_empty() {
        return Vec::new();
    }
    let comm = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
    devices.into_iter().map(|device| OpenHandle { device, pid, comm: comm.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn mounts_of_our_devices_alone() {
        let text = "proc /proc proc rw 0 0\n/dev/pmem0 /mnt/my\\040data xfs rw,dax 0 0\n/dev/pmem0p1 /a ext4 rw 0 0\n\
                    /dev/pmem0.1 /b xfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/pmem1\n";
        let usage = Usage { mounts: parse_mounts(text), open_handles: Vec::new() };
        let places = |disk| usage.mounts_of(disk).map(|mount| mount.place.as_str()).collect::<Vec<_>>();
        assert_eq!(places("pmem0"), ["/mnt/my data", "/a"]);
        assert_eq!(places("pmem0.1"), ["/b"]);
        assert_eq!(places("pmem1"), [""; 0]);
    }

    #[test]
    fn open_files_and_mappings_are_found() {
        let procfs = tempfile::tempdir().unwrap();
        let process = procfs.path().join("42");
        fs::create_dir_all(process.join("fd")).unwrap();
        symlink("/dev/pmem0", process.join("fd/3")).unwrap();
        fs::write(process.join("comm"), "postgres\n").unwrap();
        fs::write(process.join("maps"), "7f00-7f01 rw-s 00000000 00:06 99   /dev/dax0.0\nffff [heap]\n").unwrap();
        fs::create_dir(procfs.path().join("self")).unwrap();
        let usage = Usage::gather(procfs.path());
        let of = |device| usage.openers_of(device).map(|opener| (opener.pid, opener.comm.as_str())).collect::<Vec<_>>();
        assert_eq!(of("pmem0"), [(42, "postgres")]);
        assert_eq!(of("dax0.0"), [(42, "postgres")]);
        assert_eq!(of("dax0.1"), []);
    }
}
