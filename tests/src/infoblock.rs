//! The info block as it is on the media, read raw, and parsed by its format alone: tests compare the kernel and
//! pfnwatch with it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use crate::{namespace, sysfs};

/// Where a namespace's block begins.
pub const OFFSET: u64 = 4096;
const SIZE: usize = 4096;
/// Place of the Fletcher-64 checksum in the block, which is taken with zero there.
const CHECKSUM_AT: usize = 4088;

/// The 4 KiB at offset 4096 of a namespace.
pub struct InfoBlock(Vec<u8>);

impl InfoBlock {
    /// Reads a namespace's block: the namespace is disabled, enabled raw, read, and brought back.
    pub fn read(namespace: &str) -> Result<Self> {
        let block = raw(namespace, Self::of)?;
        namespace::enable(namespace)?;
        Ok(block)
    }

    pub fn of(pmem: &File) -> Result<Self> {
        let mut bytes = vec![0; SIZE];
        pmem.read_exact_at(&mut bytes, OFFSET).context("cannot read the info block")?;
        Ok(Self(bytes))
    }

    /// Writes the block to a raw namespace, with a valid checksum.
    pub fn write(&mut self, pmem: &File) -> Result<()> {
        self.put(CHECKSUM_AT, &[0; 8]);
        let words =
            self.0.chunks_exact(4).map(|word| word.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte)));
        let (mut low, mut high) = (0_u32, 0_u32);
        for word in words {
            low = low.wrapping_add(word);
            high = high.wrapping_add(low);
        }
        self.put(CHECKSUM_AT, &(u64::from(high) << 32 | u64::from(low)).to_le_bytes());
        pmem.write_all_at(&self.0, OFFSET).context("cannot write the info block")?;
        pmem.sync_all().context("the info block does not reach the media")
    }

    pub fn set_page_struct_size(&mut self, bytes: u16) {
        self.put(92, &bytes.to_le_bytes());
    }

    pub fn set_align(&mut self, bytes: u32) {
        self.put(84, &bytes.to_le_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.0.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    }

    /// `NVDIMM_PFN_INFO` or `NVDIMM_DAX_INFO`; anything else if there is no such block.
    pub fn signature(&self) -> String {
        let text = self.0.iter().take(16).take_while(|byte| **byte != 0);
        text.map(|byte| char::from(*byte)).collect()
    }

    pub fn uuid(&self) -> String {
        self.uuid_at(16)
    }

    pub fn parent_uuid(&self) -> String {
        self.uuid_at(32)
    }

    /// Bytes from the namespace's start to its first usable byte, without start_pad.
    pub fn dataoff(&self) -> u64 {
        self.number(56, 8)
    }

    pub fn npfns(&self) -> u64 {
        self.number(64, 8)
    }

    /// 1 = map=mem, 2 = map=dev.
    pub fn mode(&self) -> u64 {
        self.number(72, 4)
    }

    /// Bytes at the start that are not used.
    pub fn start_pad(&self) -> u64 {
        self.number(76, 4)
    }

    /// Bytes at the end that are not used.
    pub fn end_trunc(&self) -> u64 {
        self.number(80, 4)
    }

    /// In bytes.
    pub fn align(&self) -> u64 {
        self.number(84, 4)
    }

    /// In bytes.
    pub fn page_size(&self) -> u64 {
        self.number(88, 4)
    }

    /// What the kernel that wrote the block reserved for a page, in bytes.
    pub fn page_struct_size(&self) -> u64 {
        self.number(92, 2)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn number(&self, at: usize, length: usize) -> u64 {
        self.0.iter().skip(at).take(length).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn uuid_at(&self, at: usize) -> String {
        let digits: String = self.0.iter().skip(at).take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut uuid = digits;
        for dash in [8, 13, 18, 23] {
            uuid.insert(dash, '-');
        }
        uuid
    }
}

/// Gives access to a namespace's raw contents; the namespace is left disabled, and no longer raw.
pub fn raw<T>(namespace: &str, act: impl FnOnce(&File) -> Result<T>) -> Result<T> {
    namespace::disable(namespace)?;
    sysfs::write(namespace, "force_raw", "1")?;
    sysfs::bind(namespace, "nd_pmem").with_context(|| format!("cannot enable {namespace} raw"))?;
    let device = format!("/dev/{}", sysfs::block_device(namespace)?);
    let file = File::options().read(true).write(true).open(&device);
    let done = file.with_context(|| format!("cannot open {device}")).and_then(|file| act(&file));
    sysfs::unbind(namespace)?;
    sysfs::write(namespace, "force_raw", "0")?;
    ensure!(sysfs::driver(namespace).is_none(), "{namespace} is still enabled");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_format_has_them() {
        let mut bytes = vec![0; SIZE];
        bytes[..16].copy_from_slice(b"NVDIMM_PFN_INFO\0");
        bytes[16..32].copy_from_slice(&[0x11; 16]);
        bytes[56..64].copy_from_slice(&69_206_016_u64.to_le_bytes());
        bytes[84..88].copy_from_slice(&2_097_152_u32.to_le_bytes());
        bytes[92..94].copy_from_slice(&64_u16.to_le_bytes());
        let block = InfoBlock(bytes);
        assert_eq!(block.signature(), "NVDIMM_PFN_INFO");
        assert_eq!(block.uuid(), "11111111-1111-1111-1111-111111111111");
        assert_eq!((block.dataoff(), block.align(), block.page_struct_size()), (69_206_016, 2_097_152, 64));
    }
}
