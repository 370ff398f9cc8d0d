//! Published files name no folder of the machine that built them: that would reveal the builder, and make the file
//! different on each machine.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Task;
use crate::{paths, toolchain};

/// The folders that a compiler puts into what it makes: the source tree, cargo's, the toolchain's.
fn folders() -> Result<Vec<PathBuf>> {
    let mut folders = vec![paths::root(), paths::target(), cargo_home()?];
    // Either name of the toolchain: rustup calls it by channel and by version.
    let sysroot = toolchain::sysroot()?;
    folders.extend(sysroot.canonicalize());
    folders.push(sysroot);
    Ok(folders)
}

fn cargo_home() -> Result<PathBuf> {
    let chosen = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let usual = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    chosen.or_else(usual).context("neither CARGO_HOME nor HOME is set")
}

/// The compiler's options by which these folders have names that are the same everywhere.
pub(crate) fn remapped() -> Result<Vec<String>> {
    let option = |(folder, name): (PathBuf, String)| format!("--remap-path-prefix={}={name}", folder.display());
    Ok(renamed()?.map(option).into())
}

/// The same for GCC: ring's debug information names folders, and the build id is a hash of it although it is stripped.
pub(crate) fn remapped_in_c() -> Result<Vec<String>> {
    let option = |(folder, name): (PathBuf, String)| format!("-ffile-prefix-map={}={name}", folder.display());
    Ok(renamed()?.map(option).into())
}

/// Of names that match, the last counts, to both compilers.
fn renamed() -> Result<[(PathBuf, String); 4]> {
    let commit = Task::new("rustc", ["--version", "--verbose"]).dir(&paths::root()).read()?;
    let commit = commit.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown").to_owned();
    let library =
        toolchain::sysroot()?.canonicalize().context("the toolchain is nowhere")?.join("lib/rustlib/src/rust");
    Ok([
        (paths::root(), ".".to_owned()),
        (paths::target(), "target".to_owned()),
        (cargo_home()?.join("registry/src"), "registry".to_owned()),
        (library, format!("/rustc/{commit}")),
    ])
}

/// Fails if the file `$1` has one of the other arguments in it, and shows where.
const LOOK: &str = include_str!("find-traces.sh");

/// Refuses a file that names one of the folders.
pub(crate) fn refuse(file: &Path) -> Result<()> {
    let words = [file.to_path_buf()].into_iter().chain(folders()?);
    let context = || format!("{} has them in it: RUSTFLAGS of one's own win over those that hide them", file.display());
    Task::script(LOOK, words).read().map(drop).with_context(context)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_file_that_names_the_source_tree_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), paths::root().join("src/main.rs").to_string_lossy().as_bytes()).unwrap();
        assert!(format!("{:#}", refuse(file.path()).unwrap_err()).contains("src/main.rs"));
        fs::write(file.path(), "./src/main.rs").unwrap();
        refuse(file.path()).unwrap();
    }
}
