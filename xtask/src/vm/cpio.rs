//! Writes a `newc` cpio archive, the format of an initramfs (the kernel's Documentation/driver-api/early-userspace).

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written. All entries belong to root, their time is 1970: equal contents, equal bytes.
pub(super) struct Archive<W: Write> {
    out: W,
    inode: u32,
    written: usize,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub(super) fn new(out: W) -> Self {
        Self { out, inode: 0, written: 0 }
    }

    /// Adds a folder; its parent must have been added before.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a file, executable for all: nothing in a test guest is harmed by that.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, content)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(TRAILER, 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is too large for cpio"));
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
        self.inode += 1;
        // Magic, then: inode, mode, uid, gid, links, mtime, size, device (4 numbers), name's size, checksum.
        let numbers = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let header = numbers.iter().fold("070701".to_owned(), |text, number| text + &format!("{number:08x}"));
        self.put(header.as_bytes())?;
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }

    /// Names and contents start at multiples of four.
    fn pad(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive back: path, mode, content of each entry. Written against the format, not against the writer.
    fn read(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        while at < archive.len() {
            let number = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701", "magic at {at}");
            let (mode, size, name_size) = (number(1), number(6) as usize, number(11) as usize);
            let name = String::from_utf8(archive[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            let content = (at + 110 + name_size).next_multiple_of(4);
            entries.push((name, mode, archive[content..content + size].to_vec()));
            at = (content + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn entries_come_back() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("bin").unwrap();
        for length in 0..9 {
            archive.file(&format!("bin/{}", "n".repeat(length + 1)), &vec![b'x'; length]).unwrap();
        }
        archive.link("sbin", "bin").unwrap();
        let bytes = archive.finish().unwrap();
        let entries = read(&bytes);
        assert_eq!(entries[0], ("bin".to_owned(), 0o040_755, Vec::new()));
        for length in 0..9 {
            assert_eq!(entries[length + 1].2, vec![b'x'; length]);
        }
        assert_eq!(entries[10], ("sbin".to_owned(), 0o120_777, b"bin".to_vec()));
        assert_eq!(entries[11].0, TRAILER);
        assert_eq!((entries.len(), bytes.len() % 4), (12, 0));
    }

    #[test]
    fn equal_contents_make_equal_bytes() {
        let write = || {
            let mut archive = Archive::new(Vec::new());
            archive.file("init", b"#!").unwrap();
            archive.finish().unwrap()
        };
        assert_eq!(write(), write());
    }
}
