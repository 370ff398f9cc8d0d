//! A uuid on the stack or in a map: two words, so that it is aligned. As bytes it would be cleared and compared by calls of
//! `memset` and `memcmp`, which have no function information, without which the kernel refuses a program.

/// The sixteen bytes, in the order in which they are printed.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Uuid([u64; 2]);

impl Uuid {
    #[inline(always)]
    pub(crate) const fn of_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    #[inline(always)]
    pub(crate) const fn words(&self) -> [u64; 2] {
        self.0
    }

    #[inline(always)]
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        // SAFETY: two words are sixteen bytes, and bytes ask for no alignment.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0[0] == other.0[0] && self.0[1] == other.0[1]
    }

    /// For the bytes of a record, which are aligned there.
    #[inline(always)]
    pub(crate) fn is_bytes(&self, other: &[u8; 16]) -> bool {
        let other = other.as_ptr().cast::<u64>();
        // SAFETY: sixteen bytes are two words; in `pfnwatch_common`'s records and policies they lie at multiples of 8.
        unsafe { self.0[0] == other.read() && self.0[1] == other.add(1).read() }
    }
}
