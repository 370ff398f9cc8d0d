//! Builds the eBPF programs, and puts the object where the agent's build takes it from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::process::Task;
use crate::setup::{self, BPF_LINKER, RustSource, rust_source};
use crate::{dependencies, paths, toolchain, traces};

const PACKAGE: &str = "pfnwatch-ebpf";
const TARGET: &str = "bpfel-unknown-none";
/// The profile in Cargo.toml: release, with the debug information that BTF is made of.
const PROFILE: &str = "bpf";
const LIMIT: Duration = Duration::from_secs(600);
const AGENT_LIMIT: Duration = Duration::from_secs(1200);

/// The program of [`PACKAGE`] that does nothing.
const EMPTY: &str = "empty";

pub(crate) fn object(architecture: Architecture) -> PathBuf {
    paths::target().join("bpf").join(architecture.name()).join(PACKAGE)
}

/// Where something is built, and for what: the workspace, cargo's folder for the eBPF target, and the architecture whose registers the
/// programs read.
pub(crate) struct Place {
    pub(crate) sources: PathBuf,
    pub(crate) build: PathBuf,
    pub(crate) architecture: Architecture,
}

impl Place {
    fn default_for(architecture: Architecture) -> Self {
        Self { sources: paths::root(), build: paths::bpf_build(architecture), architecture }
    }
}

pub(crate) fn run(architecture: Architecture) -> Result<()> {
    let object = object(architecture);
    replace(&object_at(&Place::default_for(architecture))?, &object)?;
    traces::refuse(&object)
}

/// Makes `$2` of the object `$1`, with the toolchain in `$3`: without the debug information that its BTF is made of, most of
/// its bytes, which no loader reads.
///
/// The functions of compiler_builtins that LLVM makes of large assignments and comparisons are refused. The loader links such
/// a function in without its function information, and the kernel then refuses the program ("number of funcs in func_info").
const STRIP: &str = include_str!("strip-object.sh");

/// Builds the object of the workspace in this place, and returns what it is.
pub(crate) fn object_at(place: &Place) -> Result<Vec<u8>> {
    stripped(&build(PACKAGE, place)?)
}

fn stripped(built: &Path) -> Result<Vec<u8>> {
    let stripped = built.with_extension("stripped");
    Task::script(STRIP, [built, &stripped, &toolchain::sysroot()?]).read()?;
    let object = fs::read(stripped)?;
    ensure_loadable(&object).with_context(|| built.display().to_string())?;
    Ok(object)
}

/// Refuses what no agent could load: every architecture that it is built for takes eBPF in little-endian order.
fn ensure_loadable(object: &[u8]) -> Result<()> {
    const LITTLE_ENDIAN: u8 = 1;
    /// `EM_BPF` in elf.h.
    const EBPF: [u8; 2] = [247, 0];
    ensure!(object.starts_with(b"\x7fELF"), "this is no ELF file");
    ensure!(object.get(5) == Some(&LITTLE_ENDIAN), "this object has the byte order of big-endian machines");
    ensure!(object.get(18..20) == Some(&EBPF), "this object has machine code, and not eBPF");
    Ok(())
}

/// Builds the program that does nothing, and returns its object: the measure of what a program on a hook costs at least.
pub(crate) fn empty(architecture: Architecture) -> Result<PathBuf> {
    build(EMPTY, &Place::default_for(architecture))
}

fn build(object: &str, place: &Place) -> Result<PathBuf> {
    let task = cargo_for_bpf("build", place.architecture, &["--package", PACKAGE, "--bin", object], &[])?;
    task.dir(&place.sources).env("CARGO_TARGET_DIR", &place.build).limit(LIMIT).show()?;
    Ok(place.build.join(TARGET).join(PROFILE).join(object))
}

/// Builds the agent as one works on it: for this host, with its C library.
pub(crate) fn debug_agent() -> Result<()> {
    toolchain::cargo_task(["build", "--package", "pfnwatch"]).limit(AGENT_LIMIT).show()
}

/// Builds the agent as it is shipped, and as guests run it: a static program. Its eBPF programs are built already.
pub(crate) fn agent(architecture: Architecture) -> Result<()> {
    let flags: Vec<_> = traces::remapped()?.iter().map(|flag| format!("'{flag}'")).collect();
    let flags = format!("build.rustflags=[{}]", flags.join(","));
    let arguments =
        ["build", "--package", "pfnwatch", "--release", "--target", architecture.target(), "--config", &flags];
    let task = setup::for_target(toolchain::cargo_task(arguments), architecture)?;
    task.env("PFNWATCH_DEPENDENCIES", dependencies::write_auditable(architecture)?).limit(AGENT_LIMIT).show()
}

/// A cargo command for the eBPF target, with `core` built from source by the stable compiler.
pub(crate) fn cargo_for_bpf(
    command: &str,
    architecture: Architecture,
    packages: &[&str],
    after: &[&str],
) -> Result<Task> {
    let common = ["--target", TARGET, "--profile", PROFILE, "-Z", "build-std=core"];
    // No path of this machine is in the object, by options that are the same in each folder.
    let trimmed = ["-Z", "trim-paths", "--config", "profile.bpf.trim-paths=\"all\""];
    let arguments = [command].into_iter().chain(packages.iter().chain(&common).chain(&trimmed).chain(after).copied());
    // RUSTFLAGS would win over flags for the target alone: the whole set is given in the form that wins over it.
    let flags =
        ["-Clink-arg=--btf".to_owned(), format!("--cfg=bpf_target_arch=\"{}\"", architecture.name())].join("\u{1f}");
    let task = toolchain::cargo_task(arguments)
        .env("CARGO_TARGET_DIR", paths::bpf_build(architecture))
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", BPF_LINKER.path())
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(match rust_source()? {
        RustSource::Toolchain => task,
        // cargo's own tests point it at sources outside the toolchain in this way.
        RustSource::Unpacked(library) => task.env("__CARGO_TESTS_ONLY_SRC_ROOT", library),
    })
}

/// Writes a file unless its content is there already: a new time stamp would rebuild the agent for nothing.
fn replace(content: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let part = to.with_extension("part");
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(&part, content)?;
    Ok(fs::rename(&part, to)?)
}

#[cfg(test)]
mod tests {
    use object::write::{Object as Writer, Relocation, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, Object, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
        SymbolScope, elf,
    };

    use super::*;

    /// An object with debug information and a program that refers to this name.
    fn object_that_refers_to(name: &str) -> Vec<u8> {
        let mut object = Writer::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let [section, ..] =
            [("kprobe", SectionKind::Text), (".debug_info", SectionKind::Debug), (".BTF", SectionKind::Other)].map(
                |(name, kind)| {
                    let section = object.add_section(Vec::new(), name.into(), kind);
                    object.append_section_data(section, &[0; 8], 8);
                    section
                },
            );
        let symbol = object.add_symbol(Symbol {
            name: name.into(),
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
    fn objects_of_other_machines_are_refused() {
        let object = |architecture, order| Writer::new(BinaryFormat::Elf, architecture, order).write().unwrap();
        let refusal = |object: &[u8]| ensure_loadable(object).map_err(|error| error.to_string());
        assert_eq!(refusal(&object(Architecture::Bpf, Endianness::Little)), Ok(()));
        assert!(refusal(&object(Architecture::Bpf, Endianness::Big)).unwrap_err().contains("big-endian"));
        assert!(refusal(&object(Architecture::Aarch64, Endianness::Little)).unwrap_err().contains("machine code"));
        assert!(refusal(b"").unwrap_err().contains("no ELF file"));
    }

    #[test]
    fn call_of_memset_is_refused_and_debug_information_removed() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("object");
        fs::write(&built, object_that_refers_to("memset")).unwrap();
        assert!(stripped(&built).unwrap_err().to_string().contains("memset"));
        fs::write(&built, object_that_refers_to("KNOWN_BLOCKS")).unwrap();
        let stripped = stripped(&built).unwrap();
        let file = object::File::parse(stripped.as_slice()).unwrap();
        let has = [".debug_info", "kprobe", ".BTF"].map(|name| file.section_by_name(name).is_some());
        assert_eq!(has, [false, true, true]);
    }
}
