//! The eBPF object that the compiler made: what it may not contain, and what is removed from it.

use anyhow::{Context, Result, ensure};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;
use object::{File, Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// The functions of compiler_builtins that LLVM makes of large assignments and comparisons. The loader links such a function in without its
/// function information, and the kernel then refuses the program ("number of funcs in func_info").
const ASSIGNMENTS: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];

pub(super) fn refuse_calls(object: &[u8]) -> Result<()> {
    let calls = calls(object).context("what was built is no eBPF object")?;
    ensure!(
        calls.is_empty(),
        "the kernel will refuse the eBPF programs, which call {}: write word by word, or copy from a static",
        calls.join(", ")
    );
    Ok(())
}

/// Each call, with the section that it is in.
fn calls(data: &[u8]) -> object::Result<Vec<String>> {
    let file = File::parse(data)?;
    let mut found = Vec::new();
    for section in file.sections() {
        for (_, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            let name = file.symbol_by_index(symbol)?.name()?;
            if ASSIGNMENTS.contains(&name) {
                found.push(format!("{name} in {}", section.name()?));
            }
        }
    }
    Ok(found)
}

/// The sections of debug information, and of what relocates them.
const DEBUG_SECTIONS: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// The object without the debug information that its BTF is made of: most of its bytes, which no loader reads.
pub(super) fn without_debug_information(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("it is no ELF file")?;
    for section in &mut builder.sections {
        section.delete = DEBUG_SECTIONS.iter().any(|prefix| section.name.as_slice().starts_with(prefix));
    }
    // Symbols that stand for these sections.
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table, which the writer takes for the symbols' alone.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("it cannot be written without its debug information")?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::write::{Object, Relocation, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope, elf,
    };

    use super::{File, ObjectSection as _, calls, without_debug_information};
    use object::Object as _;

    fn object_that_refers_to(name: &str) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let section = object.add_section(Vec::new(), b"kprobe".to_vec(), SectionKind::Text);
        object.append_section_data(section, &[0; 8], 8);
        let symbol = object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        let flags = RelocationFlags::Elf { r_type: elf::R_BPF_64_32 };
        object.add_relocation(section, Relocation { offset: 0, symbol, addend: -1, flags }).unwrap();
        object.write().unwrap()
    }

    #[test]
    fn call_of_memset_is_found_and_a_map_is_none() {
        assert_eq!(calls(&object_that_refers_to("memset")).unwrap(), ["memset in kprobe"]);
        assert!(calls(&object_that_refers_to("KNOWN_BLOCKS")).unwrap().is_empty());
    }

    #[test]
    fn programs_and_types_stay() {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        for (name, kind) in
            [("kprobe", SectionKind::Text), (".debug_info", SectionKind::Debug), (".BTF", SectionKind::Other)]
        {
            let section = object.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
            object.append_section_data(section, name.as_bytes(), 8);
            object.section_symbol(section);
        }
        let stripped = without_debug_information(&object.write().unwrap()).unwrap();
        let file = File::parse(stripped.as_slice()).unwrap();
        assert!(file.section_by_name(".debug_info").is_none());
        for kept in ["kprobe", ".BTF"] {
            assert_eq!(file.section_by_name(kept).unwrap().data().unwrap(), kept.as_bytes());
        }
    }
}
