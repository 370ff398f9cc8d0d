//! `cargo xtask reproduce`: the eBPF object is the same file, whatever folder it is built in.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::build_ebpf::{self, Place};
use crate::paths;
use crate::process::Task;

const LIMIT: Duration = Duration::from_secs(120);

/// Copies the sources without what no build reads to `$1`, and what was built in `$2` to `$3`. What is not of this workspace,
/// Rust's core above all, was built by the same compiler out of the same sources: it is taken as it is, by links, which
/// makes seconds of a minute.
const COPY: &str = include_str!("reproduce.sh");

/// Builds the object of a copy of the sources in another folder, and holds it against the one that the agent embeds.
pub(crate) fn run() -> Result<()> {
    let usual =
        fs::read(build_ebpf::object(Architecture::HOST)).context("the eBPF object is not built: cargo xtask build")?;
    let folder = tempfile::Builder::new().prefix("pfnwatch-").tempdir().context("no folder for a second build")?;
    let place = Place {
        sources: folder.path().join("some/other/folder"),
        build: paths::target().join("bpf-again"),
        architecture: Architecture::HOST,
    };
    let places = [&place.sources, &paths::bpf_build(Architecture::HOST), &place.build];
    Task::script(COPY, places).dir(&paths::root()).limit(LIMIT).read()?;
    let again = build_ebpf::object_at(&place)?;
    fs::remove_dir_all(&place.build)?;
    let file = paths::target().join("bpf/again");
    fs::write(&file, &again)?;
    ensure!(
        again == usual,
        "a build in another folder makes another eBPF object: compare {} and {}",
        build_ebpf::object(Architecture::HOST).display(),
        file.display()
    );
    let sum = Task::new("sha256sum", [&file]).read()?;
    fs::remove_file(&file)?;
    println!(
        "built in two folders, the eBPF object has the same SHA-256: {}",
        sum.split(' ').next().unwrap_or_default()
    );
    Ok(())
}
