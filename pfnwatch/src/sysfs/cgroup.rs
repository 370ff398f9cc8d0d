//! From a cgroup's id to its path.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use crate::os::privileges::with_capabilities;

/// The kind of file handle that holds the id of a kernfs node (include/linux/exportfs.h, FILEID_KERNFS, since 5.10).
const FILEID_KERNFS: i32 = 0xfe;

/// `struct file_handle` with room for one id.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// Where the v2 hierarchy is mounted under `sysfs`, alone or beside version 1.
pub fn root(sysfs: &Path) -> Option<PathBuf> {
    let usual = [sysfs.join("fs/cgroup"), sysfs.join("fs/cgroup/unified")];
    usual.into_iter().find(|root| root.join("cgroup.controllers").exists())
}

pub struct Cgroups {
    root: File,
    mounted_at: PathBuf,
    /// A cache: consecutive creations are often by one task, and a cgroup keeps its path as long as it exists.
    last: Option<(u64, String)>,
}

impl Cgroups {
    /// `None` if it is not mounted: see [`root`].
    pub fn open(sysfs: &Path) -> Option<Self> {
        let mounted_at = root(sysfs)?;
        Some(Self { root: File::open(&mounted_at).ok()?, mounted_at, last: None })
    }

    /// The path of a cgroup below the hierarchy's root, `/` for the root itself; `None` if it no longer exists.
    pub fn path(&mut self, id: u64) -> Option<String> {
        if let Some((_, path)) = self.last.as_ref().filter(|(last, _)| *last == id) {
            return Some(path.clone());
        }
        let path = self.read_path(id)?;
        self.last = Some((id, path.clone()));
        Some(path)
    }

    fn read_path(&self, id: u64) -> Option<String> {
        let handle = FileHandle { bytes: 8, kind: FILEID_KERNFS, id };
        // SAFETY: `handle` is laid out as `struct file_handle` followed by the eight bytes that it announces, and
        // lives through the call, which only reads it.
        let fd = with_capabilities(|| unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                self.root.as_raw_fd(),
                &raw const handle,
                libc::O_PATH | libc::O_CLOEXEC,
            )
        });
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
        let opened = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok()?;
        let below = path.strip_prefix(&self.mounted_at).ok()?;
        Some(format!("/{}", below.to_str()?))
    }
}
