//! libnvdimm out of a module file: its `nvdimm_setup_pfn`, and what ties the file to a running kernel.

#[cfg(test)]
pub(crate) mod tests;

use std::io;

use data_encoding::HEXLOWER;
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _};
use thiserror::Error;

use super::unpack::unpack;
use crate::code::max_struct_page::{Architecture, Code, CodeError, Decoded, decode};
use crate::kernel::max_struct_page::{Addresses, Evidence, FUNCTIONS, Source};

/// A module unpacked; libnvdimm has half a MiB, with debug information some ten.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;
/// A longer function is read in part: `nvdimm_setup_pfn` has some 900 bytes.
const MAX_CODE_BYTES: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub struct Module {
    /// The kernel release that it was built for: the first word of its `vermagic`.
    pub release: String,
    /// Its build-id in hex, if it has one; a loaded module shows its own in sysfs.
    pub build_id: Option<String>,
    /// A hash of its sources, the headers beside them included (CONFIG_MODULE_SRCVERSION_ALL); a loaded module shows its own
    /// in sysfs.
    pub srcversion: Option<String>,
    pub has_override: bool,
    pub architecture: object::Architecture,
    /// Where the functions that may show the constant lie, in the order of [`FUNCTIONS`].
    pub functions: Vec<FunctionRange>,
    /// Function and address of the decoded code, and the result.
    pub code: Result<(String, Decoded), ModuleError>,
}

/// Where a function lies in a module: the kernel moves sections when it loads a module, and keeps the order of their
/// contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRange {
    pub name: &'static str,
    /// The section that holds it, such as `.text`.
    pub section: String,
    /// Bytes from the start of the section.
    pub offset: u64,
    pub size: u64,
}

impl Module {
    /// The code's evidence; `None` if it shows nothing. `file` names the module in it.
    #[must_use]
    pub fn evidence(&self, file: &str) -> Option<Evidence> {
        let (function, decoded) = self.code.as_ref().ok()?;
        let (file, function, build_id) = (file.to_owned(), function.clone(), self.build_id.clone());
        let source = Source::ModuleFile { file, function, at: Addresses::from(decoded), build_id };
        Some(Evidence { max: decoded.max_struct_page().ok()?, source })
    }
}

#[derive(Clone, Debug, Error)]
pub enum ModuleError {
    #[error("cannot be unpacked: {0}")]
    Unpack(String),
    #[error("not a whole ELF file: {0}")]
    Elf(#[from] object::Error),
    #[error("not a kernel module: it has no .modinfo section")]
    NotAModule,
    #[error("this is the module `{0}`: libnvdimm is wanted")]
    AnotherModule(String),
    #[error(
        "no symbol nvdimm_setup_pfn: the kernel is built without CONFIG_NVDIMM_PFN and makes no memmap, or the file is stripped"
    )]
    NoFunction,
    #[error(transparent)]
    Decode(#[from] CodeError),
}

/// Reads a module file, plain or packed with gzip, xz or zstd.
///
/// # Errors
/// [`ModuleError`] if the file is no libnvdimm; a failure to decode its code is in [`Module::code`].
pub fn read(packed: impl io::Read) -> Result<Module, ModuleError> {
    let bytes = unpack(packed, MAX_UNPACKED_BYTES).map_err(|error| ModuleError::Unpack(error.to_string()))?;
    parse(&bytes)
}

pub fn parse(bytes: &[u8]) -> Result<Module, ModuleError> {
    let file = File::parse(bytes)?;
    let modinfo = file.section_by_name(".modinfo").ok_or(ModuleError::NotAModule)?;
    let modinfo = ModInfo(modinfo.data()?);
    let name = modinfo.value("name").unwrap_or_default();
    if name != "libnvdimm" {
        return Err(ModuleError::AnotherModule(name));
    }
    let vermagic = modinfo.value("vermagic").unwrap_or_default();
    Ok(Module {
        release: vermagic.split(' ').next().unwrap_or_default().to_owned(),
        build_id: file.build_id().ok().flatten().map(|id| HEXLOWER.encode(id)),
        srcversion: modinfo.value("srcversion"),
        has_override: modinfo.values("parmtype").any(|parameter| parameter.starts_with("page_struct_override:")),
        architecture: file.architecture(),
        functions: FUNCTIONS.iter().filter_map(|name| range(&file, name)).collect(),
        code: code(&file),
    })
}

fn code(file: &File<'_>) -> Result<(String, Decoded), ModuleError> {
    let architecture = match file.architecture() {
        object::Architecture::X86_64 => Architecture::X86_64,
        object::Architecture::Aarch64 => Architecture::Aarch64,
        other => Architecture::Other(other),
    };
    let mut result = Err(ModuleError::NoFunction);
    for name in FUNCTIONS {
        let Some((address, bytes)) = function(file, name)? else { continue };
        match decode(Code { bytes, address }, architecture) {
            Ok(decoded) => return Ok((name.to_owned(), decoded)),
            // The next function may be the one that the store was not inlined into; the first one's reason counts.
            Err(error) if matches!(result, Err(ModuleError::NoFunction)) => result = Err(error.into()),
            Err(_) => {}
        }
    }
    result
}

/// Address in its section, and bytes, of a function.
fn function<'data>(file: &File<'data>, name: &str) -> Result<Option<(u64, &'data [u8])>, object::Error> {
    let Some(symbol) = file.symbols().find(|symbol| symbol.name() == Ok(name) && symbol.is_definition()) else {
        return Ok(None);
    };
    let Some(section) = symbol.section_index() else { return Ok(None) };
    let section = file.section_by_index(section)?;
    let end = section.address().saturating_add(section.size());
    let size = if symbol.size() == 0 { end.saturating_sub(symbol.address()) } else { symbol.size() };
    Ok(section.data_range(symbol.address(), size.min(MAX_CODE_BYTES))?.map(|bytes| (symbol.address(), bytes)))
}

/// `None` if the file does not contain it, or does not give its size.
fn range(file: &File<'_>, name: &'static str) -> Option<FunctionRange> {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name) && symbol.is_definition())?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let offset = symbol.address().checked_sub(section.address())?;
    let size = Some(symbol.size()).filter(|size| (1..=MAX_CODE_BYTES).contains(size))?;
    Some(FunctionRange { name, section: section.name().ok()?.to_owned(), offset, size })
}

/// The section .modinfo: `key=value` strings, each closed by a zero byte.
struct ModInfo<'a>(&'a [u8]);

impl ModInfo<'_> {
    fn values(&self, key: &str) -> impl Iterator<Item = String> {
        self.0.split(|&byte| byte == 0).filter_map(move |entry| {
            let (found, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
            (found == key).then(|| value.to_owned())
        })
    }

    fn value(&self, key: &str) -> Option<String> {
        self.values(key).next()
    }
}
