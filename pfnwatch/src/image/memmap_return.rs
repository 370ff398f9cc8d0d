//! Whether the running kernel returns a memmap in DRAM, by its own code. Needs root.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use super::freeing_code::MAX_CODE_BYTES;
use super::running_code::{RunningError, inner_kprobe, read_kcore};
use crate::code::memmap_free::{KernelFunction, MemmapFreeError, MemmapReturn, is_followed, is_wanted, memmap_return};
use crate::kernel::boot_cache::BootCache;
use crate::kernel::changed_text;
use crate::model::memmap_return::{MEMMAP_RETURNED_SINCE, MemmapEvidence, MemmapVerdict};
use crate::os::paths::Paths;

/// Wanted symbols, copies by the compiler included, are a handful.
const MAX_SYMBOLS: usize = 64;
const CACHED_SYMBOLS: &str = "memmap-functions";

/// Reads the functions that free a memmap out of the kernel's memory.
///
/// # Errors
/// Why the code does not show it: for a report.
pub fn of_running(paths: &Paths) -> Result<MemmapReturn, String> {
    read(paths, BootCache::of_running(paths).as_ref())
}

fn read(paths: &Paths, cache: Option<&BootCache>) -> Result<MemmapReturn, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("machine code is decoded on x86_64 only".to_owned());
    }
    let listed = symbols(paths, cache).map_err(|error| error.to_string())?;
    let names: Vec<_> = listed.iter().map(|(name, ..)| name.as_str()).collect();
    if let Some(patch) = changed_text::live_patch(&paths.sysfs, &names) {
        return Err(format!("the live patch {patch} replaces functions that free a memmap"));
    }
    let functions = listed.into_iter().map(|(name, address, size)| function(paths, name, address, size));
    let functions = functions.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    memmap_return(&functions).map_err(|error| error.to_string())
}

/// The verdict and its evidence, by what the code shows and by whether the release is suspected.
#[must_use]
pub const fn assess(
    code: &Result<MemmapReturn, String>,
    is_suspected: bool,
) -> (MemmapVerdict, Option<MemmapEvidence>) {
    match code {
        Ok(MemmapReturn::Returned) => (MemmapVerdict::Returned, Some(MemmapEvidence::Code)),
        Ok(MemmapReturn::NotReturned) => (MemmapVerdict::NotReturned, Some(MemmapEvidence::Code)),
        Err(_) if is_suspected => (MemmapVerdict::Suspected, Some(MemmapEvidence::Release)),
        Err(_) => (MemmapVerdict::Unknown, None),
    }
}

/// The running kernel's verdict: by its code if that can be read, else by whether its release is suspected.
#[must_use]
pub fn verdict_of_running(paths: &Paths, is_suspected: bool) -> MemmapVerdict {
    assess(&of_running(paths), is_suspected).0
}

/// A warning if the running kernel does not return a memmap in DRAM, or is suspected not to.
#[must_use]
pub fn warning(verdict: MemmapVerdict) -> Option<String> {
    let verb = match verdict {
        MemmapVerdict::Returned | MemmapVerdict::Unknown => return None,
        MemmapVerdict::NotReturned => "does not return",
        MemmapVerdict::Suspected => "is suspected (by its release) not to return",
    };
    Some(format!(
        "this kernel {verb} a memmap in DRAM when its device is disabled; a reboot returns it; fixed in {MEMMAP_RETURNED_SINCE}"
    ))
}

fn function(paths: &Paths, name: String, address: u64, size: u64) -> Result<KernelFunction, RunningError> {
    let mut bytes = Vec::new();
    if is_followed(&name) {
        bytes = read_kcore(&paths.procfs.join("kcore"), address, size)?;
        if let Some(offset) = inner_kprobe(&paths.sysfs, &name, &bytes) {
            let address = address.saturating_add(offset);
            return Err(RunningError::MemmapFree(MemmapFreeError::Breakpoint { address }));
        }
    }
    Ok(KernelFunction { name, address, bytes })
}

/// Name, address and size of the wanted functions of the kernel's image, which stay where they are for the boot.
fn symbols(paths: &Paths, cache: Option<&BootCache>) -> Result<Vec<(String, u64, u64)>, RunningError> {
    if let Some(known) = cache.and_then(|cache| cache.get(CACHED_SYMBOLS)) {
        return Ok(known);
    }
    let found = listed(paths)?;
    if let Some(cache) = cache {
        cache.put(CACHED_SYMBOLS, &found);
    }
    Ok(found)
}

/// Name, address and size of the wanted functions of the kernel's image, whose symbols /proc/kallsyms lists in the order of their
/// addresses. It is read line by line: it has 10 MB.
fn listed(paths: &Paths) -> Result<Vec<(String, u64, u64)>, RunningError> {
    let path = paths.procfs.join("kallsyms");
    let failed = |source| RunningError::Read { path: path.clone(), source };
    let mut found: Vec<(String, u64, u64)> = Vec::new();
    let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let Some((address, name)) = parsed(&line) else { continue };
        if let Some((_, start, size @ 0)) = found.last_mut()
            && address > *start
        {
            *size = (address - *start).min(MAX_CODE_BYTES);
        }
        if is_wanted(name) && found.len() < MAX_SYMBOLS {
            if address == 0 {
                return Err(RunningError::Hidden);
            }
            found.push((name.to_owned(), address, 0));
        }
    }
    Ok(found)
}

/// Address and name of `ffffffff81327080 t remove_pagetable`; `None` for a module's, which has a tab and the module behind it.
fn parsed(line: &[u8]) -> Option<(u64, &str)> {
    let line = str::from_utf8(line).ok()?.trim_end_matches('\n');
    let mut words = line.splitn(3, ' ');
    let (address, _kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(address, 16).ok()?;
    (!name.contains('\t')).then_some((address, name))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::code::memmap_free::tests::{allocator, not_returning, returning};
    use crate::image::running_code::tests::core;
    use crate::kernel::boot_cache::tests::cache_in;

    pub(crate) const START: u64 = 0xffff_ffff_8100_0000;

    /// A host whose image has these functions, one behind the other.
    pub(crate) fn host(functions: &[KernelFunction]) -> (tempfile::TempDir, Paths) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: folder.path().join("sys"), procfs: folder.path().join("proc") };
        fs::create_dir_all(&paths.procfs).unwrap();
        let mut memory = vec![0xcc; 0x4000];
        let mut kallsyms = String::from("0000000000000000 A fixed_percpu_data\n");
        for function in functions {
            let at = usize::try_from(function.address - START).unwrap();
            memory[at..at + function.bytes.len()].copy_from_slice(&function.bytes);
            kallsyms += &format!("{:016x} t {}\n", function.address, function.name);
            kallsyms += &format!("{:016x} t behind\n", function.address + function.bytes.len() as u64);
        }
        kallsyms += "ffffffffc0302390 t remove_pagetable\t[another]\n";
        fs::write(paths.procfs.join("kallsyms"), kallsyms).unwrap();
        fs::write(paths.procfs.join("kcore"), core(START, &memory)).unwrap();
        (folder, paths)
    }

    #[test]
    fn both_forms_are_read_out_of_kcore() {
        for (functions, expected) in
            [(returning(START), MemmapReturn::Returned), (not_returning(START), MemmapReturn::NotReturned)]
        {
            let (_folder, paths) = host(&functions);
            assert_eq!(of_running(&paths), Ok(expected));
        }
    }

    #[test]
    fn symbols_are_listed_once_in_a_boot() {
        let (folder, paths) = host(&not_returning(START));
        let cache = cache_in(folder.path(), "1");
        assert_eq!(read(&paths, Some(&cache)), Ok(MemmapReturn::NotReturned));
        fs::remove_file(paths.procfs.join("kallsyms")).unwrap();
        assert_eq!(read(&paths, Some(&cache)), Ok(MemmapReturn::NotReturned));
        let next = cache_in(folder.path(), "2");
        assert!(read(&paths, Some(&next)).unwrap_err().contains("kallsyms"));
    }

    #[test]
    fn a_suspected_release_is_warned_about_unless_its_code_is_fixed() {
        let (_folder, paths) = host(&not_returning(START));
        let warned = |paths: &Paths, is_suspected| warning(verdict_of_running(paths, is_suspected));
        for is_suspected in [false, true] {
            let line = warned(&paths, is_suspected).unwrap();
            assert!(line.starts_with("this kernel does not return") && line.contains("6.18.39"), "{line}");
        }
        fs::remove_file(paths.procfs.join("kcore")).unwrap();
        assert!(warned(&paths, true).unwrap().contains("suspected (by its release)"));
        assert_eq!(warned(&paths, false), None, "nothing is known");
        let (_folder, fixed) = host(&returning(START));
        assert_eq!(warned(&fixed, true), None);
    }

    #[test]
    fn what_hides_the_code_is_the_answer() {
        let (_folder, paths) = host(&not_returning(START));
        let kprobes = paths.sysfs.join("kernel/debug/kprobes");
        fs::create_dir_all(&kprobes).unwrap();
        fs::write(kprobes.join("list"), "ffffffff81000009  k  remove_pagetable+0x9    [OPTIMIZED]\n").unwrap();
        assert!(of_running(&paths).unwrap_err().contains("breakpoint at 0xffffffff81000009"));
        fs::remove_dir_all(kprobes).unwrap();
        fs::create_dir_all(paths.sysfs.join("kernel/livepatch/fix_a/vmlinux/free_pagetable,1")).unwrap();
        assert!(of_running(&paths).unwrap_err().contains("fix_a"));
        fs::write(paths.procfs.join("kallsyms"), "0000000000000000 t remove_pagetable\n").unwrap();
        assert!(of_running(&paths).unwrap_err().contains("hides its addresses"));
        let (_folder, paths) = host(&[allocator(START)]);
        assert!(of_running(&paths).unwrap_err().contains("no remove_pagetable"));
    }
}
