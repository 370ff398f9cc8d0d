//! `cargo xtask dist`: the Debian package of the agent that was built, and its checksums.

mod pages;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::process::Task;
use crate::setup::CARGO_DEB;
use crate::{debian, paths, toolchain, traces};

const LIMIT: Duration = Duration::from_secs(600);

/// Makes the package of the agent in target/release, looks at what is in it, and writes the checksums. Returns the package.
pub(crate) fn run() -> Result<PathBuf> {
    documents()?;
    let dist = paths::dist();
    // A package of an earlier version must not be taken for this one.
    debian::empty_folder(&dist)?;
    let deb = make(&dist)?;
    let (program, units) = (paths::agent(), paths::root().join("pfnwatch/dist/systemd"));
    Task::script(include_str!("dist/check-package.sh"), [&deb, &program, &units]).show()?;
    traces::refuse(&program)?;
    let sums = Task::new("sh", ["-c", "sha256sum -- *.deb | tee SHA256SUMS"]).dir(&dist).read()?;
    print!("in {}, with SHA256SUMS:\n{sums}", dist.display());
    Ok(deb)
}

/// Documents, man pages and completions, where the package takes them from. The last two depend on the command line alone: a build without
/// optimisations writes the same. The unit tests have built that program, with the same choice of packages: another choice would have cargo
/// compile half of the agent again, with fewer features of its dependencies.
fn documents() -> Result<()> {
    let folder = paths::target().join("release/dist");
    pages::write(&folder.join("doc"))?;
    let task = toolchain::workspace_task("build", &[["--example", "documents"], toolchain::MESSAGES].concat());
    let program = toolchain::executable(&task.limit(LIMIT).read()?, "example", "documents")?;
    Task::new(program, [&folder]).read()?;
    // As Debian wants them: without names and times, so that the same page is the same file.
    Task::new("sh", ["-c", "gzip -9n -- *.1"]).dir(&folder.join("man")).read().map(drop)
}

/// cargo-deb packs what was built, and strips and builds nothing itself.
fn make(dist: &Path) -> Result<PathBuf> {
    let manifest = paths::root().join("pfnwatch/Cargo.toml");
    let options = ["--no-build", "--no-strip", "--compress-system", "--manifest-path"];
    let arguments =
        options.into_iter().map(Into::into).chain([manifest.into_os_string(), "--output".into(), dist.into()]);
    Task::new(CARGO_DEB.path(), arguments).dir(&paths::root()).limit(LIMIT).show()?;
    let entries = fs::read_dir(dist)?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|it| it == "deb")).context("cargo-deb made no package")
}
