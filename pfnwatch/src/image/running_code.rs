//! `nvdimm_setup_pfn` as it runs: its bytes out of /proc/kcore. Needs root.
//!
//! The address comes from where the kernel loaded the sections of libnvdimm (/sys/module/libnvdimm/sections) and from the
//! installed module file, if that has the build-id of the loaded module. /proc/kallsyms is the fallback: the kernel formats
//! 10 MB there for each reader (50 ms), and the names of modules come last.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use thiserror::Error;

use super::module_file::{FunctionRange, Module};
use crate::code::max_struct_page::{Architecture, Code, CodeError, Decoded, decode};
use crate::code::memmap_free::MemmapFreeError;
use crate::kernel::boot::loaded_build_id;
use crate::kernel::changed_text;
use crate::kernel::max_struct_page::FUNCTIONS;
use crate::os::paths::Paths;

/// A longer function is read in part: `nvdimm_setup_pfn` has some 900 bytes.
const MAX_CODE_BYTES: u64 = 16 << 10;
/// `endbr64`, the first instruction of a function in a kernel with CONFIG_X86_KERNEL_IBT: a kprobe at the entry follows it.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// /proc/kcore's headers lie at its start; there is one program header for each range of memory.
const KCORE_HEADERS: u64 = 1 << 20;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Architecture = Architecture::X86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Architecture = Architecture::Aarch64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Architecture = Architecture::Other(object::Architecture::Unknown);

#[derive(Debug, Error)]
pub enum RunningError {
    #[error("cannot read {path}: {source}; this needs root (CAP_SYS_RAWIO) and a kernel that is not locked down")]
    Read { path: PathBuf, source: io::Error },
    #[error("the kernel has no nvdimm_setup_pfn: libnvdimm is not loaded")]
    NotLoaded,
    /// Symbols are listed, with addresses of zero.
    #[error("the kernel hides its addresses (kptr_restrict, or not root)")]
    Hidden,
    /// kcore is malformed.
    #[error("/proc/kcore is not a readable core file: {0}")]
    Kcore(#[from] object::Error),
    /// The function lies in no range of kcore.
    #[error("/proc/kcore does not contain the kernel's text at {0:#x}")]
    NotMapped(u64),
    #[error(transparent)]
    Decode(#[from] CodeError),
    #[error(transparent)]
    MemmapFree(#[from] MemmapFreeError),
}

/// Decodes the functions of the running kernel; returns the one that shows the constant. `installed` is the module file of the
/// running release, if there is one.
///
/// # Errors
/// [`RunningError`]: typed, so that a report can give the reason and what to do.
pub fn decode_running(paths: &Paths, installed: Option<&Module>) -> Result<(String, Decoded), RunningError> {
    if let Some(ranges) = installed.and_then(|module| loaded_ranges(&paths.sysfs, module)) {
        let decoded = decode_first(&ranges, paths);
        // A libnvdimm that was loaded in the meantime lies elsewhere: those bytes may be anything.
        if installed.and_then(|module| loaded_ranges(&paths.sysfs, module)).as_ref() == Some(&ranges) {
            return decoded;
        }
    }
    decode_first(&listed_ranges(&paths.procfs)?, paths)
}

#[derive(Debug, PartialEq, Eq)]
struct LoadedRange {
    name: &'static str,
    address: u64,
    size: u64,
}

/// Decodes the functions in their order, up to the first that shows the constant. If none does, the first error is
/// returned.
fn decode_first(ranges: &[LoadedRange], paths: &Paths) -> Result<(String, Decoded), RunningError> {
    let mut result = Err(RunningError::NotLoaded);
    for &LoadedRange { name, address, size } in ranges {
        if address == 0 {
            return Err(RunningError::Hidden);
        }
        let bytes = read_kcore(&paths.procfs.join("kcore"), address, size)?;
        let decoded = inner_kprobe(&paths.sysfs, name, &bytes)
            .map_or(Ok(()), |offset| Err(CodeError::Breakpoint { address: address.saturating_add(offset) }))
            .and_then(|()| decode(Code { bytes: &bytes, address }, ARCHITECTURE));
        match decoded {
            Ok(decoded) => return Ok((name.to_owned(), decoded)),
            Err(error) if matches!(result, Err(RunningError::NotLoaded)) => result = Err(error.into()),
            Err(_) => {}
        }
    }
    result
}

/// A kprobe behind the entry, in bytes from it. The kernel turns some into jumps, which look like the function's own. At the
/// entry are our own probes, and those of any tracer: ftrace calls them there.
pub(super) fn inner_kprobe(sysfs: &Path, function: &str, code: &[u8]) -> Option<u64> {
    let entry = if code.starts_with(&ENDBR64) { ENDBR64.len() as u64 } else { 0 };
    changed_text::kprobes(sysfs, function).into_iter().find(|offset| *offset > entry)
}

/// The functions of a module file at the addresses of its loaded sections; `None` if another build of libnvdimm is
/// loaded, or if sysfs does not give the addresses (not root, or kptr_restrict: kallsyms shows which).
fn loaded_ranges(sysfs: &Path, module: &Module) -> Option<Vec<LoadedRange>> {
    let is_loaded = module.build_id.is_some() && loaded_build_id(sysfs) == module.build_id;
    if !is_loaded || module.functions.is_empty() {
        return None;
    }
    let sections = sysfs.join("module/libnvdimm/sections");
    let loaded = |function: &FunctionRange| {
        let text = fs::read_to_string(sections.join(&function.section)).ok()?;
        let start = u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok().filter(|start| *start != 0)?;
        let (address, size) = (start.checked_add(function.offset)?, function.size.min(MAX_CODE_BYTES));
        Some(LoadedRange { name: function.name, address, size })
    };
    module.functions.iter().map(loaded).collect()
}

fn listed_ranges(procfs: &Path) -> Result<Vec<LoadedRange>, RunningError> {
    let path = procfs.join("kallsyms");
    let kallsyms = fs::read(&path).map_err(|source| RunningError::Read { path, source })?;
    let listed = |name| span(&kallsyms, name).map(|(address, size)| LoadedRange { name, address, size });
    Ok(FUNCTIONS.into_iter().filter_map(listed).collect())
}

/// Whether `page_struct_override` is set; `None` if the kernel has no such parameter, or libnvdimm is not loaded.
///
/// # Errors
/// [`RunningError::Read`] if the parameter exists and cannot be read.
pub fn page_struct_override(sysfs: &Path) -> Result<Option<bool>, RunningError> {
    let path = sysfs.join("module/libnvdimm/parameters/page_struct_override");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim() == "Y" || text.trim() == "1")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunningError::Read { path, source }),
    }
}

/// Digits of an address in kallsyms: `%px` of a 64-bit kernel pads with zeros, so that they compare as the numbers do.
const DIGITS: usize = 16;

/// Address of a function in kallsyms' text, and the bytes up to the next symbol. A kernel has 200,000 symbols, and the
/// guard waits for this: addresses that are only compared are not parsed.
fn span(kallsyms: &[u8], name: &str) -> Option<(u64, u64)> {
    let symbols = || kallsyms.split(|byte| *byte == b'\n').filter_map(symbol);
    let (address, _) = symbols().find(|&(_, found)| found == name.as_bytes())?;
    let next = symbols().map(|(other, _)| other).filter(|&other| other > address).min();
    let address = number(address)?;
    let size = next.and_then(number).map_or(MAX_CODE_BYTES, |next| next - address);
    Some((address, size.min(MAX_CODE_BYTES)))
}

/// The address and the name of `ffffffffc0302390 T nvdimm_setup_pfn\t[libnvdimm]`.
fn symbol(line: &[u8]) -> Option<(&[u8; DIGITS], &[u8])> {
    let (address, rest) = line.split_first_chunk()?;
    let [b' ', _type, b' ', name @ ..] = rest else { return None };
    Some((address, name.split(|byte| *byte == b'\t').next()?))
}

fn number(digits: &[u8; DIGITS]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// `size` bytes of kernel memory at `address`.
pub(super) fn read_kcore(path: &Path, address: u64, size: u64) -> Result<Vec<u8>, RunningError> {
    let failed = |source| RunningError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut headers = Vec::new();
    (&file).take(KCORE_HEADERS).read_to_end(&mut headers).map_err(failed)?;
    let offset = kcore_offset(&headers, address)?.ok_or(RunningError::NotMapped(address))?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset).map_err(failed)?;
    Ok(bytes)
}

fn kcore_offset(headers: &[u8], address: u64) -> Result<Option<u64>, object::Error> {
    let header = FileHeader64::<Endianness>::parse(headers)?;
    let endian = header.endian()?;
    let ranges = header.program_headers(endian, headers)?;
    let held = |range: &&object::elf::ProgramHeader64<Endianness>| {
        let start = range.p_vaddr(endian);
        range.p_type(endian) == PT_LOAD && address >= start && address - start < range.p_memsz(endian)
    };
    let offset = |range: &object::elf::ProgramHeader64<Endianness>| {
        range.p_offset(endian).checked_add(address - range.p_vaddr(endian))
    };
    Ok(ranges.iter().find(held).and_then(offset))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::module_file;
    use crate::kernel::max_struct_page::tests::as_gcc_does;

    const KALLSYMS: &str = "\
ffffffff81000000 T _text
ffffffffc0301000 t nd_pfn_probe\t[libnvdimm]
ffffffffc0302390 T nvdimm_setup_pfn\t[libnvdimm]
ffffffffc0300000 t nd_label_init\t[libnvdimm]
ffffffffc0302710 t nvdimm_setup_pfn.cold\t[libnvdimm]
";

    #[test]
    fn a_function_reaches_to_the_next_symbol() {
        assert_eq!(span(KALLSYMS.as_bytes(), "nvdimm_setup_pfn"), Some((0xffff_ffff_c030_2390, 0x380)));
        assert_eq!(span(KALLSYMS.as_bytes(), "nd_pfn_init"), None);
        assert_eq!(span(KALLSYMS.as_bytes(), "_text"), Some((0xffff_ffff_8100_0000, MAX_CODE_BYTES)), "bounded");
        assert_eq!(span(b"no symbols here", "here"), None);
        assert_eq!(span(b"what is no address T here", "here"), None);
        assert_eq!(span(b"zzzzzzzzzzzzzzzz T here", "here"), None);
    }

    /// 4 KiB with this code in them.
    fn memory(offset: usize, code: &[u8]) -> Vec<u8> {
        let mut memory = [&vec![0; offset], code].concat();
        memory.resize(0x1000, 0xcc);
        memory
    }

    pub(in crate::image) fn core(address: u64, memory: &[u8]) -> Vec<u8> {
        let mut core = b"\x7fELF\x02\x01\x01\0".to_vec();
        core.resize(64 + 56, 0);
        core[16] = 4; // ET_CORE
        core[32] = 64; // e_phoff
        core[52] = 64; // e_ehsize
        core[54] = 56; // e_phentsize
        core[56] = 1; // e_phnum
        core[64] = 1; // PT_LOAD
        core[64 + 8] = 120; // p_offset
        core[64 + 16..64 + 24].copy_from_slice(&address.to_le_bytes());
        core[64 + 40..64 + 48].copy_from_slice(&(memory.len() as u64).to_le_bytes());
        core.extend(memory);
        core
    }

    /// A host with these symbols and this memory, and its sysfs without libnvdimm.
    fn host(kallsyms: &str, core: &[u8]) -> (tempfile::TempDir, Paths) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: folder.path().join("sys"), procfs: folder.path().join("proc") };
        fs::create_dir_all(&paths.procfs).unwrap();
        fs::write(paths.procfs.join("kallsyms"), kallsyms).unwrap();
        fs::write(paths.procfs.join("kcore"), core).unwrap();
        (folder, paths)
    }

    fn load(paths: &Paths, text: &str) {
        let module = paths.sysfs.join("module/libnvdimm");
        fs::create_dir_all(module.join("sections")).unwrap();
        fs::create_dir_all(module.join("notes")).unwrap();
        fs::write(module.join("sections/.text"), text).unwrap();
        let note = [&4_u32.to_ne_bytes()[..], &4_u32.to_ne_bytes(), &3_u32.to_ne_bytes(), b"GNU\0\xde\xad\xbe\xef"];
        fs::write(module.join("notes/.note.gnu.build-id"), note.concat()).unwrap();
    }

    #[test]
    fn code_is_read_out_of_kcore() {
        let memory = memory(0x390, &as_gcc_does(0x80, 7));
        let (_folder, paths) = host(KALLSYMS, &core(0xffff_ffff_c030_2000, &memory));
        let (function, decoded) = decode_running(&paths, None).unwrap();
        assert_eq!((function.as_str(), decoded.from_store.address), ("nvdimm_setup_pfn", 0xffff_ffff_c030_2395));
        assert_eq!(decoded.max_struct_page().unwrap().bytes, 128);
    }

    #[test]
    fn a_loaded_module_is_found_without_kallsyms() {
        // As the module file has it: 32 bytes into the section. Its own constant is another: what runs counts.
        let installed = module_file::parse(&module_file::tests::libnvdimm(64, 6)).unwrap();
        let memory = memory(0x400 + 32, &as_gcc_does(0x80, 7));
        let (_folder, paths) = host("no symbols", &core(0xffff_ffff_c030_2000, &memory));
        load(&paths, "0xffffffffc0302400\n");
        let (function, decoded) = decode_running(&paths, Some(&installed)).unwrap();
        assert_eq!((function.as_str(), decoded.from_store.address), ("nvdimm_setup_pfn", 0xffff_ffff_c030_2425));
        assert_eq!(decoded.max_struct_page().unwrap().bytes, 128);
    }

    #[test]
    fn a_kprobe_behind_the_entry_makes_the_code_unknown() {
        let code = as_gcc_does(0x40, 6);
        for (endbr, offset, known) in
            [(true, 4, true), (true, 0, true), (false, 0, true), (false, 4, false), (true, 9, false)]
        {
            let memory = memory(0x390, &[if endbr { &ENDBR64[..] } else { &[] }, &code].concat());
            let (_folder, paths) = host(KALLSYMS, &core(0xffff_ffff_c030_2000, &memory));
            fs::create_dir_all(paths.sysfs.join("kernel/debug/kprobes")).unwrap();
            let list = format!("ffffffffc0302394  k  nvdimm_setup_pfn+{offset:#x}  libnvdimm [OPTIMIZED]\n");
            fs::write(paths.sysfs.join("kernel/debug/kprobes/list"), list).unwrap();
            let decoded = decode_running(&paths, None);
            assert_eq!(decoded.is_ok(), known, "{endbr} {offset}: {decoded:?}");
            let address = 0xffff_ffff_c030_2390 + offset;
            assert!(
                known
                    || matches!(decoded, Err(RunningError::Decode(CodeError::Breakpoint { address: at })) if at == address)
            );
        }
    }

    #[test]
    fn kallsyms_is_asked_unless_file_and_module_are_the_same_build() {
        let installed = module_file::parse(&module_file::tests::libnvdimm(64, 6)).unwrap();
        let memory = memory(0x390, &as_gcc_does(0x80, 7));
        let (_folder, paths) = host(KALLSYMS, &core(0xffff_ffff_c030_2000, &memory));
        let address = |paths: &Paths, installed: &Module| {
            let (_, decoded) = decode_running(paths, Some(installed)).unwrap();
            decoded.from_store.address
        };
        assert_eq!(address(&paths, &installed), 0xffff_ffff_c030_2395, "sysfs has no libnvdimm");
        load(&paths, "0x0000000000000000\n");
        assert_eq!(address(&paths, &installed), 0xffff_ffff_c030_2395, "its addresses are hidden");
        load(&paths, "0xffffffffc0302000\n");
        let other = Module { build_id: Some("ab0102".to_owned()), ..installed.clone() };
        assert_eq!(address(&paths, &other), 0xffff_ffff_c030_2395, "another build");
        let unknown = Module { build_id: None, ..installed.clone() };
        assert_eq!(address(&paths, &unknown), 0xffff_ffff_c030_2395, "a file without a build-id");
        let stripped = Module { functions: Vec::new(), ..installed };
        assert_eq!(address(&paths, &stripped), 0xffff_ffff_c030_2395, "a file without symbols");
    }

    #[test]
    fn each_failure_has_its_reason() {
        let fails = |kallsyms: &str, core: &[u8]| {
            let (_folder, paths) = host(kallsyms, core);
            decode_running(&paths, None).unwrap_err()
        };
        assert!(matches!(fails("", b""), RunningError::NotLoaded));
        assert!(matches!(fails("0000000000000000 T nvdimm_setup_pfn\n", b""), RunningError::Hidden));
        assert!(matches!(fails(KALLSYMS, b"not ELF"), RunningError::Kcore(_)));
        assert!(matches!(fails(KALLSYMS, &core(0x1000, &[0; 64])), RunningError::NotMapped(_)));
        let (folder, paths) = host(KALLSYMS, b"");
        fs::remove_file(folder.path().join("proc/kallsyms")).unwrap();
        assert!(matches!(decode_running(&paths, None), Err(RunningError::Read { .. })));
    }

    #[test]
    fn the_override_is_read_where_there_is_one() {
        let sysfs = tempfile::tempdir().unwrap();
        assert_eq!(page_struct_override(sysfs.path()).unwrap(), None);
        let parameters = sysfs.path().join("module/libnvdimm/parameters");
        fs::create_dir_all(&parameters).unwrap();
        for (text, set) in [("Y\n", true), ("N\n", false)] {
            fs::write(parameters.join("page_struct_override"), text).unwrap();
            assert_eq!(page_struct_override(sysfs.path()).unwrap(), Some(set));
        }
    }
}
