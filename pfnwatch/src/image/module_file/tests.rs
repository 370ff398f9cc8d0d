use object::write::{Object, StandardSection, Symbol, SymbolSection};
use object::{Architecture as Machine, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};
use proptest::prelude::*;

use super::*;
use crate::kernel::max_struct_page::tests::as_gcc_does;

/// A module file as the kernel's build makes it: the code behind some other function, build-id and .modinfo.
pub(crate) fn module(machine: Machine, modinfo: &[u8], functions: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Object::new(BinaryFormat::Elf, machine, Endianness::Little);
    let text = file.section_id(StandardSection::Text);
    file.append_section_data(text, &[0xcc; 32], 16);
    for (name, code) in functions {
        let value = file.append_section_data(text, code, 16);
        file.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value,
            size: code.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
    let info = file.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    file.append_section_data(info, modinfo, 1);
    let note = file.add_section(Vec::new(), b".note.gnu.build-id".to_vec(), SectionKind::Note);
    let build_id = [&4_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0\xde\xad\xbe\xef"];
    file.append_section_data(note, &build_id.concat(), 4);
    file.write().unwrap()
}

/// A libnvdimm of the release `6.1.0-50-amd64`.
pub(crate) fn libnvdimm(constant: u8, shift: u8) -> Vec<u8> {
    let modinfo = b"name=libnvdimm\0license=GPL v2\0vermagic=6.1.0-50-amd64 SMP preempt mod_unload \0";
    module(Machine::X86_64, modinfo, &[("nvdimm_setup_pfn", &as_gcc_does(constant, shift))])
}

#[test]
fn the_constant_comes_out_with_its_place() {
    let module = parse(&libnvdimm(128, 7)).unwrap();
    assert_eq!((module.release.as_str(), module.build_id.as_deref()), ("6.1.0-50-amd64", Some("deadbeef")));
    assert!(!module.has_override);
    let size = as_gcc_does(128, 7).len() as u64;
    let range = FunctionRange { name: "nvdimm_setup_pfn", section: ".text".to_owned(), offset: 32, size };
    assert_eq!(module.functions, [range]);
    let (function, decoded) = module.code.unwrap();
    assert_eq!((function.as_str(), decoded.from_store.address), ("nvdimm_setup_pfn", 32 + 5));
    assert_eq!(decoded.max_struct_page().unwrap().bytes, 128);
}

#[test]
fn the_function_that_was_not_inlined_is_found() {
    let (outer, inner) = ([0xe8, 0, 0, 0, 0, 0xc3], as_gcc_does(64, 6));
    let functions: [(&str, &[u8]); 2] = [("nvdimm_setup_pfn", &outer), ("nd_pfn_init", &inner)];
    let module = parse(&module(Machine::X86_64, b"name=libnvdimm\0", &functions)).unwrap();
    assert_eq!(
        module.functions.iter().map(|range| range.name).collect::<Vec<_>>(),
        ["nvdimm_setup_pfn", "nd_pfn_init"]
    );
    assert_eq!(module.code.unwrap().0, "nd_pfn_init");
}

#[test]
fn the_parameter_and_the_srcversion_are_seen() {
    let modinfo = b"name=libnvdimm\0srcversion=533BB7E5\0parmtype=other:int\0parmtype=page_struct_override:bool\0";
    let module = parse(&module(Machine::X86_64, modinfo, &[])).unwrap();
    assert!(module.has_override);
    assert_eq!(module.srcversion.as_deref(), Some("533BB7E5"));
}

#[test]
fn a_module_for_arm64_is_read() {
    use crate::code::arm64::tests::{as_gcc_does, bytes};
    let code = bytes(&as_gcc_does(128, 7));
    let found = parse(&module(Machine::Aarch64, b"name=libnvdimm\0", &[("nvdimm_setup_pfn", &code)])).unwrap();
    assert_eq!(found.architecture, Machine::Aarch64);
    assert_eq!(found.evidence("file").unwrap().max.bytes, 128);
}

#[test]
fn each_bad_file_has_its_reason() {
    let code = as_gcc_does(64, 6);
    let functions: [(&str, &[u8]); 1] = [("nvdimm_setup_pfn", &code)];
    let other = parse(&module(Machine::PowerPc64, b"name=libnvdimm\0", &functions)).unwrap().code.unwrap_err();
    assert!(other.to_string().contains("PowerPc64 is not supported"), "{other}");
    let stripped = parse(&module(Machine::X86_64, b"name=libnvdimm\0", &[])).unwrap().code.unwrap_err();
    assert!(matches!(stripped, ModuleError::NoFunction));
    let another = parse(&module(Machine::X86_64, b"name=nfit\0", &[])).unwrap_err();
    assert!(another.to_string().contains("`nfit`"), "{another}");
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(matches!(parse(&program), Err(ModuleError::NotAModule)));
    assert!(matches!(parse(&libnvdimm(64, 6)[..100]), Err(ModuleError::Elf(_))));
    assert!(matches!(read(b"BZh9".as_slice()), Err(ModuleError::Unpack(_))));
}

proptest! {
    #[test]
    fn mutated_modules_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        keep: proptest::sample::Index,
    ) {
        let mut bytes = libnvdimm(128, 7);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = parse(&bytes);
        let _ = parse(&bytes[..keep.index(bytes.len())]);
    }
}
