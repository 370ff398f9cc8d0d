//! The names of packages in a package's own description.

use std::io::{self, Read};

use super::rpm_header_sizes;

/// A header describes thousands of files in some MiB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// RPMTAG_REQUIRENAME.
const REQUIRES: u32 = 1049;

/// The names in `Depends` of Debian's control file; of alternatives the first.
pub(super) fn of_control(control: &str) -> Vec<String> {
    let mut depends = String::new();
    let mut is_inside = false;
    for line in control.lines() {
        let goes_on = line.starts_with([' ', '\t']);
        let value = line.strip_prefix("Depends:").or_else(|| (is_inside && goes_on).then_some(line));
        is_inside = value.is_some();
        depends += value.unwrap_or_default();
    }
    let name = |entry: &str| entry.split(['(', '|', ':']).next().map(|name| name.trim().to_owned());
    depends.split(',').filter_map(name).filter(|name| !name.is_empty()).collect()
}

/// The names that an .rpm's main header requires.
pub(super) fn of_rpm_header(file: &mut impl Read) -> io::Result<Vec<String>> {
    let (entries, store) = rpm_header_sizes(file)?;
    let mut header = Vec::new();
    file.take(MAX_HEADER_BYTES.min(entries * 16 + store)).read_to_end(&mut header)?;
    let index = usize::try_from(entries * 16).unwrap_or(usize::MAX);
    let (Some(index), Some(store)) = (header.get(..index), header.get(index..)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    // Tag, type, offset in the store, and number.
    let numbers = |entry: &[u8; 16]| {
        let [tag, _, offset, count] = *entry.as_chunks().0 else { return None };
        (u32::from_be_bytes(tag) == REQUIRES).then_some((u32::from_be_bytes(offset), u32::from_be_bytes(count)))
    };
    let Some((offset, count)) = index.as_chunks().0.iter().find_map(numbers) else { return Ok(Vec::new()) };
    let strings = usize::try_from(offset).ok().and_then(|offset| store.get(offset..)).unwrap_or_default();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(strings.split(|&byte| byte == 0).take(count).map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}
