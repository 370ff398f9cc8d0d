//! The kernel's functions by name, from /proc/kallsyms.
//!
//! Anybody may read the names. The addresses are all zero without CAP_SYSLOG, or depending on kernel.kptr_restrict:
//! they are [`None`] then. The kernel generates the file on each read (100,000 to 200,000 lines, about 50 ms): read it
//! once for all functions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use thiserror::Error;

/// The longest line that is taken: a name has at most 511 bytes (KSYM_NAME_LEN), a module's 55.
const MAX_LINE: u64 = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Address of its first byte; `None` if that is hidden.
    pub address: Option<u64>,
    /// `None` for the kernel's image.
    pub module: Option<String>,
}

/// The wanted functions that the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    functions: BTreeMap<String, Vec<Function>>,
}

#[derive(Debug, Error)]
pub enum SymbolsError {
    #[error("{file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file}, line {line}, is not a line of kernel symbols")]
    NotSymbols {
        file: String,
        /// The line's number, from 1.
        line: u64,
    },
}

impl Symbols {
    /// Looks for `wanted` in `procfs`/kallsyms.
    ///
    /// # Errors
    /// [`SymbolsError`]: not readable, or malformed.
    pub fn open(procfs: &Path, wanted: &[&str]) -> Result<Self, SymbolsError> {
        let path = procfs.join("kallsyms");
        let name = path.display().to_string();
        let file = File::open(&path).map_err(|source| SymbolsError::Read { file: name.clone(), source })?;
        Self::read(BufReader::new(file), &name, wanted)
    }

    /// Looks for `wanted` in lines in the format of /proc/kallsyms; `file` is their name in messages.
    ///
    /// # Errors
    /// [`SymbolsError`]: not readable, or malformed.
    pub fn read(mut from: impl BufRead, file: &str, wanted: &[&str]) -> Result<Self, SymbolsError> {
        let mut symbols = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            match read.map_err(|source| SymbolsError::Read { file: file.to_owned(), source })? {
                0 => break,
                _ => symbols
                    .take_line(&line, wanted)
                    .ok_or(SymbolsError::NotSymbols { file: file.to_owned(), line: number })?,
            }
        }
        Ok(symbols)
    }

    /// Address, kind and name, and for a module's a tab and its name: `ffffffffc0323570 t nd_pfn_probe [libnvdimm]`.
    fn take_line(&mut self, line: &[u8], wanted: &[&str]) -> Option<()> {
        let line = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        let mut words = line.split_ascii_whitespace();
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        let address = u64::from_str_radix(address, 16).ok()?;
        // On x86 per-CPU variables have small addresses of their own kind: only text symbols are proof.
        let is_text = matches!(kind, "t" | "T" | "w" | "W");
        if is_text && wanted.contains(&name) {
            let module = words.next().map(|module| module.trim_matches(['[', ']']).to_owned());
            let function = Function { address: (address != 0).then_some(address), module };
            self.functions.entry(name.to_owned()).or_default().push(function);
        }
        Some(())
    }

    #[cfg(test)]
    fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "\
0000000000001000 A cpu_debug_store
ffffffff8344cc20 T bpf_lsm_kernfs_init_security
ffffffff838f4f40 t dev_attr_show
ffffffff84a26080 r __BTF_ID__func__bpf_lsm_kernfs_init_security__736161
ffffffffab025660 W weak_function
ffffffff81000010 t uuid_store
ffffffff81000020 t uuid_store
ffffffffc056e9f9 t nvdimm_setup_pfn.cold	[libnvdimm]
ffffffffc056c710 t nvdimm_setup_pfn	[libnvdimm]
";

    const WANTED: [&str; 6] =
        ["nvdimm_setup_pfn", "dev_attr_show", "weak_function", "cpu_debug_store", "uuid_store", "nd_pfn_init"];

    fn read(lines: &str) -> Result<Symbols, SymbolsError> {
        Symbols::read(lines.as_bytes(), "test", &WANTED)
    }

    #[test]
    fn functions_are_found_with_their_module() {
        let symbols = read(LINES).unwrap();
        let module = Some("libnvdimm".to_owned());
        let setup = Function { address: Some(0xffff_ffff_c056_c710), module };
        assert_eq!(symbols.functions("nvdimm_setup_pfn"), [setup]);
        assert_eq!(symbols.functions("dev_attr_show")[0].module, None);
        assert_eq!(symbols.functions("uuid_store").len(), 2);
        assert!(symbols.has_function("weak_function"));
        assert!(!symbols.has_function("nd_pfn_init"), "not there");
        assert!(!symbols.has_function("cpu_debug_store"), "no function");
        assert!(!symbols.has_function("bpf_lsm_kernfs_init_security"), "not asked for");
    }

    #[test]
    fn hidden_addresses_are_none_and_names_still_found() {
        let hidden: String = LINES.lines().map(|line| format!("{:016x}{}\n", 0, &line[16..])).collect();
        let symbols = read(&hidden).unwrap();
        assert_eq!(symbols.functions("dev_attr_show"), [Function { address: None, module: None }]);
    }

    #[test]
    fn what_is_no_symbol_file_is_refused_with_its_line() {
        let text = |lines: &str| read(lines).unwrap_err().to_string();
        assert_eq!(text("hello\n"), "test, line 1, is not a line of kernel symbols");
        assert_eq!(text("ffffffff81000000 T _text\nxyz T b\n"), "test, line 2, is not a line of kernel symbols");
        assert_eq!(text("ffffffff81000000 T _text"), "test, line 1, is not a line of kernel symbols");
        assert_eq!(text(&"f".repeat(1 << 20)), "test, line 1, is not a line of kernel symbols");
        assert!(
            Symbols::open(Path::new("/nonexistent"), &[]).unwrap_err().to_string().contains("/nonexistent/kallsyms")
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = Symbols::read(&*bytes, "random", &WANTED);
        }
    }
}
