use object::write::{Object, StandardSegment};
use proptest::prelude::*;

use super::*;

const TEXT: u64 = 0xffff_ffff_8100_0000;
const READ_ONLY: u64 = 0xffff_ffff_8220_0000;

/// How scripts/kallsyms.c lays the table out.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Up to 6.3.
    AddressesFirst,
    /// Up to 6.19.
    AddressesLast,
    /// Since 7.0.
    FromPlace,
}

/// Symbols of which each is 16 bytes behind the one before, `_text` the first at [`TEXT`].
fn names() -> Vec<String> {
    ["_text".to_owned()].into_iter().chain((1..2000).map(|index| format!("function_{index}"))).collect()
}

fn padded(bytes: &mut Vec<u8>, align: usize) {
    bytes.resize(bytes.len().next_multiple_of(align), 0);
}

fn vmlinux(form: Form) -> Vec<u8> {
    let names = names();
    let align = if matches!(form, Form::FromPlace) { 4 } else { 8 };
    let addresses = |place: u64| -> Vec<u8> {
        let offset = |index: u64| match form {
            // None of them is a per-CPU symbol.
            Form::AddressesFirst => -1 - 16 * index.cast_signed(),
            Form::AddressesLast => 16 * index.cast_signed(),
            Form::FromPlace => (TEXT + 16 * index).wrapping_sub(READ_ONLY + place + 4 * index).cast_signed(),
        };
        (0..names.len() as u64).flat_map(|index| i32::try_from(offset(index)).unwrap().to_le_bytes()).collect()
    };
    let mut data = b"other read-only data".to_vec();
    padded(&mut data, 8);
    if matches!(form, Form::AddressesFirst) {
        data.extend(addresses(0));
        padded(&mut data, 8);
        data.extend(TEXT.to_le_bytes());
    }
    data.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
    padded(&mut data, align);
    let (start, mut markers) = (data.len(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        if index % MARKED == 0 {
            markers.push(u32::try_from(data.len() - start).unwrap());
        }
        data.push(u8::try_from(name.len() + 1).unwrap());
        data.push(b't');
        data.extend(name.bytes());
    }
    padded(&mut data, align);
    data.extend(markers.iter().flat_map(|marker| marker.to_le_bytes()));
    // Each byte is a token for itself, or for a string that no name uses.
    let tokens =
        (0..=255_u8).map(|byte| if byte.is_ascii_graphic() { vec![byte] } else { format!("{byte:03x}").into() });
    let (mut table, mut index) = (Vec::new(), Vec::new());
    for token in tokens {
        index.extend(u16::try_from(table.len()).unwrap().to_le_bytes());
        table.extend(token);
        table.push(0);
    }
    data.extend(table);
    padded(&mut data, align);
    data.extend(index);
    if !matches!(form, Form::AddressesFirst) {
        padded(&mut data, align);
        let place = data.len() as u64;
        data.extend(addresses(place));
    }
    elf(&data)
}

fn elf(read_only: &[u8]) -> Vec<u8> {
    let (format, architecture) = (object::BinaryFormat::Elf, object::Architecture::X86_64);
    let mut file = Object::new(format, architecture, object::Endianness::Little);
    for (name, data) in [(".text", [0xcc; 64].as_slice()), (".rodata", read_only)] {
        let segment = file.segment_name(StandardSegment::Data).to_vec();
        let section = file.add_section(segment, name.as_bytes().to_vec(), object::SectionKind::ReadOnlyData);
        file.append_section_data(section, data, 8);
    }
    let mut bytes = file.write().unwrap();
    // The writer makes relocatable files, whose sections have no addresses: those of the two are set here.
    let field = |bytes: &[u8], at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let headers = usize::try_from(field(&bytes, 0x28)).unwrap();
    for (header, address) in [(1, TEXT), (2, READ_ONLY)] {
        let at = headers + header * 64 + 16;
        bytes[at..at + 8].copy_from_slice(&address.to_le_bytes());
    }
    bytes
}

#[test]
fn each_form_of_the_table_is_read() {
    for form in [Form::AddressesFirst, Form::AddressesLast, Form::FromPlace] {
        let image = vmlinux(form);
        let file = File::parse(image.as_slice()).unwrap();
        let found = symbols(&file, |name| ["_text", "function_700", "function_1999"].contains(&name)).unwrap();
        let found: Vec<_> =
            found.iter().map(|symbol| (symbol.name.as_str(), symbol.address - TEXT, symbol.size)).collect();
        assert_eq!(found, [("_text", 0, 16), ("function_700", 11200, 16), ("function_1999", 31984, 0)], "{form:?}");
    }
}

#[test]
fn a_table_that_does_not_fit_is_an_error() {
    for (read_only, missing) in [(b"nothing".to_vec(), "tokens"), (vec![0; 4096], "tokens")] {
        let image = elf(&read_only);
        let file = File::parse(image.as_slice()).unwrap();
        let error = symbols(&file, |_| true).unwrap_err();
        assert!(error.to_string().ends_with(missing), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn damage_never_panics(at: proptest::sample::Index, byte: u8) {
        let mut image = vmlinux(Form::AddressesLast);
        let at = at.index(image.len());
        image[at] = byte;
        if let Ok(file) = File::parse(image.as_slice()) {
            let _ = symbols(&file, |_| true);
        }
    }
}
