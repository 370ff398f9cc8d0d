//! The kernel's own symbol table (kallsyms) in an unpacked image: images are shipped without the linker's.
//!
//! scripts/kallsyms.c writes it into the read-only data, without section names or a magic number. Its parts are found by their
//! form, each is checked against another, and all of it against the address of the kernel's text: a table that does not fit is
//! an error. *Names* are lengths and tokens, *markers* the offset of each 256th name, *tokens* 256 strings, and the *token
//! index* the offset of each. The addresses follow (since 6.4) or precede the names.

#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use object::{File, Object as _, ObjectSection as _};
use thiserror::Error;

/// Names between two markers.
const MARKED: usize = 256;
/// A kernel has 80,000 to 300,000 symbols; fewer than this are no kernel's.
const MIN_MARKERS: usize = 4;
const MAX_SYMBOLS: usize = 1 << 22;
/// The token table is found by the tokens of the ten digits, which no other token replaces.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
const TOKENS: usize = 256;
/// Names with their markers have some 3 MiB.
const MAX_NAMES_BYTES: usize = 32 << 20;
/// The bytes that 256 names take: each has a length and at least one token, and fewer than 512 bytes.
const MARKER_STEP: Range<usize> = 2 * MARKED..512 * MARKED;

#[derive(Debug, Error)]
pub enum KallsymsError {
    #[error("the kernel inside is not a complete ELF file: {0}")]
    Elf(#[from] object::Error),
    #[error("the image has no symbol table (kallsyms) of a known form: no {0}")]
    Missing(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageSymbol {
    pub(super) name: String,
    pub(super) address: u64,
    /// Bytes to the next symbol; 0 for the last.
    pub(super) size: u64,
}

/// The wanted symbols of an unpacked vmlinux of a little-endian 64-bit machine.
///
/// # Errors
/// [`KallsymsError`]: the image has no table of a known form.
pub(super) fn symbols(file: &File<'_>, wanted: impl Fn(&str) -> bool) -> Result<Vec<ImageSymbol>, KallsymsError> {
    let section = |name: &'static str| file.section_by_name(name).ok_or(KallsymsError::Missing(name));
    let (text, read_only) = (section(".text")?.address(), section(".rodata")?);
    let data = read_only.data()?;
    let tokens = Tokens::find(data).ok_or(KallsymsError::Missing("tokens"))?;
    let names = Names::find(data, &tokens).ok_or(KallsymsError::Missing("names that fit their markers"))?;
    let mut first = None;
    names.each(|index, name| {
        if first.is_none() && matches!(name, b"_text" | b"_stext") {
            first = Some(index);
        }
    });
    let first = first.ok_or(KallsymsError::Missing("symbol _text"))?;
    let fits = |addresses: &Vec<u64>| addresses.get(first) == Some(&text) && addresses.is_sorted();
    let addresses = candidates(data, read_only.address(), text, &tokens, &names).find(fits);
    let addresses = addresses.ok_or(KallsymsError::Missing("addresses that fit the names"))?;
    let mut found = Vec::new();
    names.each(|index, name| {
        let name = str::from_utf8(name).ok().filter(|name| wanted(name));
        if let Some((name, &address)) = name.zip(addresses.get(index)) {
            let next = addresses.iter().skip(index).find(|next| **next > address);
            found.push(ImageSymbol { name: name.to_owned(), address, size: next.map_or(0, |next| next - address) });
        }
    });
    Ok(found)
}

/// What each of the 256 bytes of packed names is replaced with.
struct Tokens<'a> {
    start: usize,
    /// Behind the token index.
    end: usize,
    text: Vec<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    fn find(data: &'a [u8]) -> Option<Self> {
        let places = data.windows(DIGITS.len()).enumerate().filter(|(_, window)| *window == DIGITS);
        places.filter_map(|(digits, _)| Self::around(data, digits)).next()
    }

    /// The table whose token of the digit 0 is at `digits`.
    fn around(data: &'a [u8], digits: usize) -> Option<Self> {
        let mut first = digits;
        for _ in 0..b'0' {
            let before = data.get(..first.checked_sub(1)?)?;
            first = before.iter().rposition(|byte| *byte == 0)? + 1;
        }
        let behind_string = |start: usize| Some(start + data.get(start..)?.iter().position(|byte| *byte == 0)? + 1);
        // The first token may have bytes before it that are not its own: the index shows its length.
        let second = behind_string(first)?;
        let mut starts = vec![second];
        for _ in 1..TOKENS {
            starts.push(behind_string(*starts.last()?)?);
        }
        let end = *starts.last()?;
        [8, 4, 2].into_iter().find_map(|align| {
            let index = end.next_multiple_of(align);
            let listed: Vec<usize> =
                numbers(data.get(index..index + 2 * TOKENS)?).map(u16::from_le_bytes).map(usize::from).collect();
            let start = second.checked_sub(*listed.get(1)?)?;
            let is_index = listed.first() == Some(&0)
                && listed.iter().skip(1).zip(&starts).all(|(offset, at)| start + offset == *at);
            let bounds = [start].into_iter().chain(starts.iter().copied()).collect::<Vec<_>>();
            let text = bounds.windows(2).map(|pair| match pair {
                &[from, to] => data.get(from..to.checked_sub(1)?),
                _ => None,
            });
            is_index.then_some(Self { start, end: index + 2 * TOKENS, text: text.collect::<Option<_>>()? })
        })
    }
}

/// The names, each packed as its length and its tokens.
struct Names<'a> {
    count: usize,
    /// Where their count lies, which precedes them.
    start: usize,
    packed: &'a [u8],
    tokens: &'a [&'a [u8]],
}

impl<'a> Names<'a> {
    fn find(data: &'a [u8], tokens: &'a Tokens<'a>) -> Option<Self> {
        let lowest = tokens.start.saturating_sub(MAX_NAMES_BYTES);
        let mut places = (lowest..tokens.start).rev().filter(|place| place % 4 == 0);
        places.find_map(|place| Self::before(data, tokens, place, &markers(data.get(place..tokens.start)?)?))
    }

    /// The names that end before their markers.
    fn before(data: &'a [u8], tokens: &'a Tokens<'a>, markers_at: usize, markers: &[usize]) -> Option<Self> {
        let nearest = markers_at.checked_sub(*markers.get(MIN_MARKERS - 1)?)?;
        let farthest = markers_at.saturating_sub(markers.last()? + MARKER_STEP.end);
        let mut places = (farthest..nearest).rev().filter(|place| place % 4 == 0);
        places.find_map(|start| {
            let count = usize::try_from(u32::from_le_bytes(*data.get(start..)?.first_chunk()?)).ok()?;
            let marked = count.div_ceil(MARKED);
            let markers = markers.get(..marked).filter(|_| marked >= MIN_MARKERS && count <= MAX_SYMBOLS)?;
            // Aligned to 8 bytes up to 6.19, to 4 since.
            [start + 8, start + 4].into_iter().find_map(|at| {
                let names = Self { count, start, packed: data.get(at..markers_at)?, tokens: &tokens.text };
                names.fit(markers).then_some(names)
            })
        })
    }

    fn fit(&self, markers: &[usize]) -> bool {
        let mut at = 0;
        (0..self.count).all(|index| {
            let is_marked = index % MARKED != 0 || markers.get(index / MARKED) == Some(&at);
            is_marked && self.next(&mut at).is_some()
        })
    }

    /// The packed name at `at`, which then lies behind it.
    fn next(&self, at: &mut usize) -> Option<&'a [u8]> {
        let mut length = usize::from(*self.packed.get(*at)?);
        *at += 1;
        // Longer ones take a second byte since 6.1.
        if length & 0x80 != 0 {
            length = (length & 0x7f) | usize::from(*self.packed.get(*at)?) << 7;
            *at += 1;
        }
        let name = self.packed.get(*at..*at + length).filter(|name| !name.is_empty())?;
        *at += length;
        Some(name)
    }

    /// Calls `act` with the place and the text of each name.
    fn each(&self, mut act: impl FnMut(usize, &[u8])) {
        let (mut at, mut text) = (0, Vec::new());
        for index in 0..self.count {
            let Some(name) = self.next(&mut at) else { return };
            text.clear();
            text.extend(name.iter().filter_map(|token| self.tokens.get(usize::from(*token))).copied().flatten());
            // The first character is the kind.
            act(index, text.get(1..).unwrap_or_default());
        }
    }
}

/// The markers at the start of `data`: 0, and each higher by what 256 names can take.
fn markers(data: &[u8]) -> Option<Vec<usize>> {
    let numbers = numbers(data).map(u32::from_le_bytes).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let mut markers: Vec<usize> = Vec::new();
    for number in numbers {
        let fits = match markers.last() {
            None => number == 0,
            Some(last) => number.checked_sub(*last).is_some_and(|step| MARKER_STEP.contains(&step)),
        };
        if !fits {
            break;
        }
        markers.push(number);
    }
    (markers.len() >= MIN_MARKERS).then_some(markers)
}

/// The addresses of all names, by each known form and place of the table.
fn candidates(
    data: &[u8],
    data_address: u64,
    text: u64,
    tokens: &Tokens<'_>,
    names: &Names<'_>,
) -> impl Iterator<Item = Vec<u64>> {
    let bytes = 4 * names.count;
    // Up to 6.3 the base address lies between, in 8 bytes.
    let before = names.start.checked_sub(8 + bytes.next_multiple_of(8));
    let places = [Some(tokens.end.next_multiple_of(8)), Some(tokens.end.next_multiple_of(4)), before];
    let tables = places.into_iter().flatten().filter_map(move |at| Some((at, data.get(at..at.checked_add(bytes)?)?)));
    tables.flat_map(move |(at, table)| {
        let offsets = || numbers(table).map(i32::from_le_bytes).map(i64::from);
        // From the text on; and of per-CPU symbols (up to 6.14, CONFIG_KALLSYMS_ABSOLUTE_PERCPU) the address itself, all others
        // negative; and from the place in the table on (since 7.0).
        let from_text = numbers(table).map(u32::from_le_bytes).map(|offset| text.wrapping_add(u64::from(offset)));
        let percpu = offsets().map(|offset| {
            if offset < 0 { text.wrapping_sub(1).wrapping_sub_signed(offset) } else { offset.unsigned_abs() }
        });
        let places = (0_u64..).map(|index| data_address.wrapping_add(at as u64 + 4 * index));
        let from_place = offsets().zip(places).map(|(offset, place)| place.wrapping_add_signed(offset));
        [from_text.collect(), percpu.collect(), from_place.collect()]
    })
}

/// `data` in pieces of N bytes, without the rest.
fn numbers<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> {
    data.as_chunks().0.iter().copied()
}
