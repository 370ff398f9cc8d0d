//! `cargo xtask reproduce`: the eBPF object is the same file, whatever folder it is built in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::build_ebpf::{self, Place};
use crate::paths;
use crate::process::Task;

const LIMIT: Duration = Duration::from_secs(120);

/// What of the source tree no build reads.
const LEFT_OUT: [&str; 2] = ["target", "docs"];

/// Builds the object of a copy of the sources in another folder, and holds it against the one that the agent embeds.
pub(crate) fn run() -> Result<()> {
    let usual = fs::read(build_ebpf::object()).context("the eBPF object is not built: cargo xtask build")?;
    let folder = tempfile::Builder::new().prefix("pfnwatch-").tempdir().context("no folder for a second build")?;
    let place = Place { sources: folder.path().join("some/other/folder"), build: paths::target().join("bpf-again") };
    let _ = fs::remove_dir_all(&place.build);
    copy_sources(&place.sources)?;
    borrow(&paths::bpf_build(), &place.build)?;
    let again = build_ebpf::object_at(&place)?;
    fs::remove_dir_all(&place.build)?;
    let file = paths::target().join("bpf/again");
    fs::write(&file, &again)?;
    ensure!(
        again == usual,
        "a build in another folder makes another eBPF object: compare {} and {}",
        build_ebpf::object().display(),
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

fn copy_sources(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(paths::root())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && !LEFT_OUT.contains(&name.as_ref()) {
            Task::new("cp", ["-R".as_ref(), path.as_os_str(), to.as_os_str()]).limit(LIMIT).read()?;
        }
    }
    Ok(())
}

/// What is not of this workspace, Rust's core above all, was built by the same compiler out of the same sources: it is
/// taken as it is, by links, which makes seconds of a minute.
fn borrow(from: &Path, to: &Path) -> Result<()> {
    for folder in build_ebpf::FOLDERS {
        let (from, to) = (from.join(folder), to.join(folder));
        fs::create_dir_all(&to)?;
        Task::new("cp", ["-al".as_ref(), from.join(".").as_os_str(), to.as_os_str()]).limit(LIMIT).read()?;
        let ours = ["-depth", "-name", "*pfnwatch*", "-exec", "rm", "-rf", "{}", "+"].map(AsRef::as_ref);
        Task::new("find", std::iter::once(to.as_os_str()).chain(ours)).limit(LIMIT).read()?;
    }
    Ok(())
}
