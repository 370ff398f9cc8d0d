//! One sysfs attribute: read once, relative to its device's directory, with a typed reason if it has no value.

use crate::model::inventory::{Attribute, AttributeError};
use crate::model::units::parse_number;
use crate::sysfs::busy::Reads;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::read;
use pfnwatch_common::Map;
use uuid::Uuid;

/// Longer than any attribute that is read; a longer text is malformed.
const MAX_ATTRIBUTE_BYTES: usize = 256;

/// A device's directory in sysfs, held open so that its attributes cost no path walk.
#[derive(Debug)]
pub struct Directory {
    file: OwnedFd,
    /// The device's name.
    name: String,
    /// What watches reads that wait for binds.
    reads: Option<Arc<Reads>>,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`AttributeError::Absent`] if it does not exist, else the system's error.
    pub fn open(path: &Path) -> Attribute<Self> {
        Ok(Self { file: open_at(AT_FDCWD, path)?, name: String::new(), reads: None })
    }

    /// The directory of many devices, whose reads are watched.
    ///
    /// # Errors
    /// Those of [`Directory::open`].
    pub fn open_watched(path: &Path, reads: &Arc<Reads>) -> Attribute<Self> {
        Ok(Self { reads: Some(Arc::clone(reads)), ..Self::open(path)? })
    }

    /// Opens a directory, or the target of a link, inside this one.
    pub fn child(&self, name: &str) -> Attribute<Self> {
        Ok(Self { file: open_at(&self.file, Path::new(name))?, name: name.to_owned(), reads: self.reads.clone() })
    }

    /// The attribute `name`, parsed by `parse`, which gets the trimmed text and returns `None` if it is malformed.
    pub fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Attribute<T> {
        let _under_way = self.reads.as_ref().map(|reads| reads.begin(&self.name, name)).transpose()?;
        // Non-blocking, so that a FIFO in a broken tree cannot hold us up; sysfs does not mind.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.file, name, flags, Mode::empty())?;
        let mut buffer = [0; MAX_ATTRIBUTE_BYTES];
        let length = read(&file, &mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let malformed = || AttributeError::Malformed(String::from_utf8_lossy(bytes).trim().chars().take(32).collect());
        if length == MAX_ATTRIBUTE_BYTES {
            return Err(malformed());
        }
        let text = str::from_utf8(bytes).map_err(|_| malformed())?.trim();
        if text.is_empty() { Err(AttributeError::Empty) } else { parse(text).ok_or_else(malformed) }
    }

    /// Decimal, or with 0x.
    pub fn number(&self, name: &str) -> Attribute<u64> {
        self.read(name, parse_number)
    }

    /// The name of another device.
    ///
    /// # Errors
    /// [`AttributeError::Empty`] for "none".
    pub fn device(&self, name: &str) -> Attribute<String> {
        self.read(name, parse_device_name)
    }

    pub fn uuid(&self, name: &str) -> Attribute<Uuid> {
        self.read(name, |text| Uuid::try_parse(text).ok())
    }

    /// The `mode` of a pfn or dax device: where its memmap lives, `None` while it is not set.
    pub fn map(&self, name: &str) -> Attribute<Option<Map>> {
        self.read(name, |text| match text {
            "ram" => Some(Some(Map::Mem)),
            "pmem" => Some(Some(Map::Dev)),
            "none" => Some(None),
            _ => None,
        })
    }

    /// The last component of the target of the link `name`, such as `driver`; `None` if there is no such link.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<String> {
        self.target(name)?.file_name()?.to_str().map(str::to_owned)
    }

    /// The target of the link `name`.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<PathBuf> {
        nix::fcntl::readlinkat(&self.file, name).ok().map(PathBuf::from)
    }
}

fn open_at(at: impl AsFd, path: &Path) -> Attribute<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// A device's name becomes part of a path: it must not leave its directory.
fn parse_device_name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!text.starts_with('.') && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn number(content: &[u8]) -> Attribute<u64> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("size"), content).unwrap();
        Directory::open(folder.path()).unwrap().number("size")
    }

    #[test]
    fn numbers_in_either_base() {
        for (text, value) in
            [("0\n", 0), ("4096\n", 4096), ("0x100000000\n", 1 << 32), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(number(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn bad_numbers_are_named_and_never_cut() {
        for text in
            ["-1\n", "+1", "1 2", "1e3", "0x", "0x-1", "18446744073709551616", "16 exabytes", "0x10000000000000000"]
        {
            assert_eq!(number(text.as_bytes()), Err(AttributeError::Malformed(text.trim().to_owned())), "{text}");
        }
        assert_eq!(number(b" \n"), Err(AttributeError::Empty));
        assert_eq!(number(b""), Err(AttributeError::Empty));
        assert!(matches!(number(&[0xff; 3]), Err(AttributeError::Malformed(_))));
        let huge = number(&[b'1'; 5000]);
        assert_eq!(huge, Err(AttributeError::Malformed("1".repeat(32))));
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(directory.number("size"), Err(AttributeError::Absent));
        assert_eq!(Directory::open(&folder.path().join("gone")).unwrap_err(), AttributeError::Absent);
        assert!(directory.read("", |_| Some(())).is_err());
        fs::create_dir(folder.path().join("size")).unwrap();
        assert_eq!(directory.number("size"), Err(AttributeError::Failed(Errno::EISDIR as i32)));
    }

    #[test]
    fn a_device_name_stays_in_its_directory() {
        for bad in ["../../../etc", "..", "a/b", ".hidden", "a b"] {
            assert_eq!(parse_device_name(bad), None, "{bad}");
        }
        assert_eq!(parse_device_name("pfn0.1").as_deref(), Some("pfn0.1"));
    }

    proptest! {
        #[test]
        fn no_content_panics(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = number(&content);
        }
    }
}
