//! A short text of the kernel's, such as a device's name.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// At most `N` bytes of a C string: ends at its first NUL, or is cut at `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(transparent)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    pub const EMPTY: Self = Self([0; N]);

    /// The bytes before the first NUL.
    pub fn bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// `None` if it is empty or not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.bytes()).ok().filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_at_the_first_nul() {
        assert_eq!(Text(*b"pfn0.1\0junk").as_str(), Some("pfn0.1"));
        assert_eq!(Text(*b"full").as_str(), Some("full"));
        assert_eq!(Text::<4>::EMPTY.as_str(), None);
        assert_eq!(Text([0xff, 0xfe, 0, 0]).as_str(), None);
    }
}
