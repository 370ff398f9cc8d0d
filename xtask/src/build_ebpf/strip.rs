//! The object without the debug information that its BTF is made of: most of its bytes, which no loader reads.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The sections of debug information, and of what relocates them.
const PREFIXES: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// The same object without them.
pub(super) fn debug_information(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("it is no ELF file")?;
    for section in &mut builder.sections {
        section.delete = PREFIXES.iter().any(|prefix| section.name.as_slice().starts_with(prefix));
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
    use object::write::Object;
    use object::{Architecture, BinaryFormat, Endianness, File, Object as _, ObjectSection as _, SectionKind};

    use super::*;

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
        let stripped = debug_information(&object.write().unwrap()).unwrap();
        let file = File::parse(stripped.as_slice()).unwrap();
        assert!(file.section_by_name(".debug_info").is_none());
        for kept in ["kprobe", ".BTF"] {
            assert_eq!(file.section_by_name(kept).unwrap().data().unwrap(), kept.as_bytes());
        }
    }
}
