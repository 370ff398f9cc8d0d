//! What is costly to find out about the running kernel, and the same until the next boot: in files under /run.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process;

use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::boot;
use crate::os::paths::Paths;

/// The agent's runtime directory, which root alone may write to.
const FOLDER: &str = "/run/pfnwatch";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Of group and others.
const FOREIGN_WRITE: u32 = 0o022;

/// A cache whose entries expire with the boot. It never fails: without an entry the value is found out again.
#[derive(Debug)]
pub struct BootCache {
    folder: PathBuf,
    boot_id: String,
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    /// Of pfnwatch: another version may mean something else by a value.
    version: String,
    boot_id: String,
    value: T,
}

impl BootCache {
    /// `None` if the paths are not those of the running kernel.
    #[must_use]
    pub fn of_running(paths: &Paths) -> Option<Self> {
        let boot_id = boot::id(paths).filter(|_| paths.is_own_sysfs())?;
        Some(Self { folder: PathBuf::from(FOLDER), boot_id })
    }

    /// The entry of this name, if it is of this boot, and if only this user can have written it.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let file = File::options().read(true).custom_flags(O_NOFOLLOW).open(self.file(name)).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.uid() != geteuid().as_raw()
            || metadata.mode() & FOREIGN_WRITE != 0
            || metadata.len() > MAX_FILE_BYTES
        {
            return None;
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
        let entry: Entry<T> = serde_json::from_slice(&text).ok()?;
        (entry.version == VERSION && entry.boot_id == self.boot_id).then_some(entry.value)
    }

    /// Replaces the entry of this name, if the folder may be written to.
    pub fn put<T: Serialize>(&self, name: &str, value: &T) {
        let entry = Entry { version: VERSION.to_owned(), boot_id: self.boot_id.clone(), value };
        let Ok(text) = serde_json::to_vec(&entry) else { return };
        // Without an agent nothing else makes it. It exists, or the next step fails.
        let _ = DirBuilder::new().mode(0o755).create(&self.folder);
        // Two processes may write at once: each renames a file of its own.
        let new = self.folder.join(format!(".{name}.{}", process::id()));
        let written =
            File::options().write(true).create_new(true).custom_flags(O_NOFOLLOW).mode(0o600).open(&new).and_then(
                |mut file| file.set_permissions(Permissions::from_mode(0o600)).and_then(|()| file.write_all(&text)),
            );
        if written.and_then(|()| fs::rename(&new, self.file(name))).is_err() {
            let _ = fs::remove_file(new);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    pub fn cache_in(folder: &Path, boot_id: &str) -> BootCache {
        BootCache { folder: folder.to_owned(), boot_id: boot_id.to_owned() }
    }

    #[test]
    fn an_entry_lasts_until_the_next_boot() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache_in(folder.path(), "1");
        assert_eq!(cache.get::<u32>("numbers"), None);
        cache.put("numbers", &1_u32);
        cache.put("numbers", &2_u32);
        assert_eq!(cache.get::<u32>("numbers"), Some(2));
        assert_eq!(cache.get::<u32>("others"), None);
        assert_eq!(cache.get::<String>("numbers"), None, "another type");
        assert_eq!(cache_in(folder.path(), "2").get::<u32>("numbers"), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_others_may_have_written_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache_in(folder.path(), "1");
        cache.put("numbers", &1_u32);
        let file = folder.path().join("numbers.json");
        for mode in [0o620, 0o602] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(cache.get::<u32>("numbers"), None, "{mode:o}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        symlink(&file, folder.path().join("link.json")).unwrap();
        assert_eq!((cache.get::<u32>("numbers"), cache.get::<u32>("link")), (Some(1), None));
        fs::write(&file, vec![b' '; 70_000]).unwrap();
        assert_eq!(cache.get::<u32>("numbers"), None, "too large");
    }

    #[test]
    fn the_folder_is_made_but_not_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache_in(&folder.path().join("new"), "1");
        cache.put("numbers", &1_u32);
        assert_eq!(cache.get::<u32>("numbers"), Some(1));
        let cache = cache_in(&folder.path().join("missing/new"), "1");
        cache.put("numbers", &1_u32);
        assert_eq!(cache.get::<u32>("numbers"), None);
    }

    #[test]
    fn made_up_files_are_not_the_running_kernels() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: folder.path().into(), procfs: folder.path().into() };
        fs::create_dir_all(folder.path().join("sys/kernel/random")).unwrap();
        fs::write(folder.path().join("sys/kernel/random/boot_id"), "1\n").unwrap();
        assert!(BootCache::of_running(&paths).is_none());
        let own = Paths { sysfs: "/sys".into(), procfs: "/proc".into() };
        assert!(BootCache::of_running(&own).is_some());
    }
}
