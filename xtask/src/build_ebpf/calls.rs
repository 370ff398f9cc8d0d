//! No program may call what LLVM makes of a large assignment: the loader links such a function in without its function
//! information, and the kernel then refuses the program ("number of funcs in func_info").

use anyhow::{Context, Result, ensure};
use object::{File, Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// The functions of compiler_builtins that stand for assignments and comparisons.
const FUNCTIONS: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];

/// Refuses an object that has such a call.
pub(super) fn refuse(object: &[u8]) -> Result<()> {
    let calls = find(object).context("what was built is no eBPF object")?;
    ensure!(
        calls.is_empty(),
        "the kernel will refuse the eBPF programs, which call {}: write word by word, or copy from a static",
        calls.join(", ")
    );
    Ok(())
}

/// Each call, with the section that it is in.
fn find(data: &[u8]) -> object::Result<Vec<String>> {
    let file = File::parse(data)?;
    let mut found = Vec::new();
    for section in file.sections() {
        for (_, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            let name = file.symbol_by_index(symbol)?.name()?;
            if FUNCTIONS.contains(&name) {
                found.push(format!("{name} in {}", section.name()?));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use object::write::{Object, Relocation, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope, elf,
    };

    use super::*;

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
        assert_eq!(find(&object_that_refers_to("memset")).unwrap(), ["memset in kprobe"]);
        assert!(find(&object_that_refers_to("KNOWN_BLOCKS")).unwrap().is_empty());
    }
}
