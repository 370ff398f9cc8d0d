//! Short names, compared as words: cheap, and without a loop over bytes.

use core::mem::MaybeUninit;

use pfnwatch_common::record::Text;

use super::{Read, text};

/// The first bytes of a name, NUL included, as little-endian words.
#[derive(Clone, Copy)]
pub(super) struct Name([u64; 3]);

impl Name {
    /// Reads the name at an address. The words are zeroed one by one, since a call of `memset` would have no function
    /// information, without which the kernel refuses a program that has calls.
    #[inline(always)]
    pub(super) fn at(address: u64) -> Read<Self> {
        let mut words = MaybeUninit::<[u64; 3]>::uninit();
        let first = words.as_mut_ptr().cast::<u64>();
        for at in 0..3 {
            // SAFETY: within the three words.
            unsafe { first.add(at).write_volatile(0) };
        }
        // SAFETY: three words are 24 bytes, initialised just now, and a `Text` asks for no alignment.
        text(address, unsafe { &mut *first.cast::<Text<24>>() })?;
        // SAFETY: as above.
        Ok(Self(unsafe { words.assume_init() }))
    }

    #[inline(always)]
    pub(super) fn is(&self, other: &Self) -> bool {
        let Self([first, second, third]) = *self;
        first == other.0[0] && second == other.0[1] && third == other.0[2]
    }
}

/// The name of at most 23 bytes.
pub(super) const fn name<const N: usize>(name: &[u8; N]) -> Name {
    let mut bytes = [0; 24];
    bytes.split_at_mut(N).0.copy_from_slice(name);
    as_words(&bytes)
}

const fn as_words(b: &[u8; 24]) -> Name {
    Name([
        u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        u64::from_le_bytes([b[16], b[17], b[18], b[19], b[20], b[21], b[22], b[23]]),
    ])
}
