//! Sizes for people: printed in binary units, taken with either kind.

use std::fmt;

use thiserror::Error;

const BINARY: [(&str, u64); 6] =
    [("EiB", 1 << 60), ("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Bytes, printed in the largest binary unit that leaves at least one before the point: `15.9 GiB`, `512 B`.
/// A whole number of units is printed without a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match BINARY.iter().find(|(_, unit)| self.0 >= *unit) {
            None => format!("{} B", self.0),
            Some((name, unit)) if self.0.is_multiple_of(*unit) => format!("{} {name}", self.0 / unit),
            Some((name, unit)) => {
                // Cut, never rounded up: 1023.99 MiB must not be printed as 1 GiB of usable capacity.
                let tenths = (self.0 % unit) / (unit / 10).max(1);
                format!("{}.{} {name}", self.0 / unit, tenths.min(9))
            }
        };
        f.pad(&text)
    }
}

/// How many of something: `1 host`, `2 hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plural(pub u64, pub &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    #[error("`{0}` is not a size: it must be a number and a unit, as in 1TiB, 512M or 1.5GiB")]
    NotANumber(String),
    #[error("`{0}` has an unknown unit: use B, K, M, G, T, P or E, with or without `iB` (1024) or `B` (1024 as well)")]
    UnknownUnit(String),
    /// Not a whole number of bytes, or more than 64 bits.
    #[error("`{0}` is not a whole number of bytes below 16 EiB")]
    OutOfRange(String),
}

/// Reads a size: `4096`, `512M`, `1TiB`, `1.5G`. Units are binary throughout, as ndctl takes them.
///
/// # Errors
/// [`SizeError`], naming the text.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.parse::<u64>().map_err(|_| SizeError::NotANumber(text.to_owned()));
    let whole = digits(whole)?;
    let unit = unit_bytes(unit.trim()).ok_or_else(|| SizeError::UnknownUnit(text.to_owned()))?;
    let out_of_range = || SizeError::OutOfRange(text.to_owned());
    let bytes = whole.checked_mul(unit).ok_or_else(out_of_range)?;
    if fraction.is_empty() {
        return if number.ends_with('.') { Err(SizeError::NotANumber(text.to_owned())) } else { Ok(bytes) };
    }
    let scale = u32::try_from(fraction.len()).ok().and_then(|n| 10u64.checked_pow(n)).ok_or_else(out_of_range)?;
    let part = u128::from(digits(fraction)?) * u128::from(unit);
    if part % u128::from(scale) != 0 {
        return Err(out_of_range());
    }
    u64::try_from(part / u128::from(scale)).ok().and_then(|part| bytes.checked_add(part)).ok_or_else(out_of_range)
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let letter = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => return Some(1),
        lower => lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(lower).to_owned(),
    };
    BINARY
        .iter()
        .find(|(name, _)| name.strip_suffix("iB").is_some_and(|l| l.eq_ignore_ascii_case(&letter)))
        .map(|(_, bytes)| *bytes)
}

/// `123`, `0x7b`; not `-1`, `+1` or anything beyond 64 bits.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    match text.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|first: char| first.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_printed_in_binary_units_and_cut() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (2 << 20, "2 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (32770 << 20, "32.0 GiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn sizes_are_taken_with_either_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("512M", 512 << 20),
            ("1TiB", 1 << 40),
            (" 1.5 GiB ", 3 << 29),
            ("2mb", 2 << 20),
            ("0", 0),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_bad_size_is_named() {
        for text in ["", "GiB", "-1", "1.", "1..5G", ".5G", "0x10"] {
            let error = parse_size(text).unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        assert!(matches!(parse_size("1Z"), Err(SizeError::UnknownUnit(_))));
        for text in ["16E", "0.3B", "99999999999999999999", "1.00000000000000000000001G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse_size(&text);
        }

        #[test]
        fn whole_bytes_come_back(bytes: u64) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }
    }
}
