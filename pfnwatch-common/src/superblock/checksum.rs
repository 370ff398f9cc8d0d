//! The info block's Fletcher-64 checksum, as `nd_fletcher64()` of drivers/nvdimm/core.c takes it.

use super::{CHECKSUM_AT, ParseError, SIZE, field};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The field at offset 4088.
    pub stored: u64,
    /// What the block's bytes add up to, with that field taken as zero.
    pub computed: u64,
}

impl Checksum {
    /// Of the first 4096 bytes of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::TooShort`] below 4096 bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, ParseError> {
        let stored = u64::from_le_bytes(field(bytes, CHECKSUM_AT)?);
        let block: &[u8; SIZE] = bytes.first_chunk().ok_or(ParseError::TooShort { len: bytes.len(), needed: SIZE })?;
        Ok(Self { stored, computed: fletcher64(block) })
    }

    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.stored == self.computed
    }
}

/// Two running sums over the block's little-endian 32-bit words, the checksum field (its last two) taken as zero.
#[must_use]
pub fn fletcher64(block: &[u8; SIZE]) -> u64 {
    let (words, _) = block.as_chunks::<4>();
    let (mut low, mut high) = (0_u32, 0_u32);
    for (index, word) in words.iter().enumerate() {
        let word = if index < CHECKSUM_AT / 4 { u32::from_le_bytes(*word) } else { 0 };
        low = low.wrapping_add(word);
        high = high.wrapping_add(low);
    }
    (u64::from(high) << 32) | u64::from(low)
}
