//! The aligns that a kernel offers for a pfn or dax device.

use std::fmt;

use super::units::{Bytes, parse_number};

/// A set of aligns. Each is a power of two, so that their sum is the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligns(u64);

impl Aligns {
    /// Those of x86_64 with transparent huge pages: a page, a page of 2 MiB, one of 1 GiB.
    pub const X86_64: Self = Self(4 << 10 | 2 << 20 | 1 << 30);

    /// A page alone, which a kernel without transparent huge pages offers (PREEMPT_RT).
    #[must_use]
    pub const fn page_alone(page_size: u64) -> Self {
        Self(page_size)
    }

    /// `supported_alignments` of a pfn or dax device: `4096 2097152 1073741824`. `None` if a word is no power of two.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |word: &str| parse_number(word.trim_matches(['[', ']'])).filter(|align| align.is_power_of_two());
        text.split_whitespace().map(number).try_fold(0, |set, align| Some(set | align?)).map(Self)
    }

    #[must_use]
    pub const fn contains(self, align: u64) -> bool {
        align.is_power_of_two() && self.0 & align != 0
    }
}

/// `4 KiB, 2 MiB, 1 GiB`
impl fmt::Display for Aligns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aligns: Vec<_> = (0..u64::BITS).map(|bit| 1 << bit).filter(|align| self.contains(*align)).collect();
        f.write_str(&aligns.into_iter().map(|align| Bytes(align).to_string()).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_is_a_set() {
        let aligns = Aligns::parse("4096 [2097152] 1073741824 ").unwrap();
        assert_eq!((aligns, aligns.to_string().as_str()), (Aligns::X86_64, "4 KiB, 2 MiB, 1 GiB"));
        assert_eq!(Aligns::parse("4096"), Some(Aligns::page_alone(4096)));
        assert!(!aligns.contains(16 << 20) && !aligns.contains(0) && !aligns.contains((2 << 20) + 4096));
        for bad in ["3", "4096 x", "0", "-1"] {
            assert_eq!(Aligns::parse(bad), None, "{bad}");
        }
    }
}
