//! `apt-get install` with lists and sources of our own: /etc/apt and the system's lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::geteuid;

use crate::debian::retried;
use crate::process::{Task, remedy};
use crate::{paths, progress};

use super::has;

const UPDATE_LIMIT: Duration = Duration::from_secs(240);
const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// Installs packages in the system, from the system's own sources and, where one is named, from a suite of Debian's
/// besides, which is preferred then.
pub(crate) fn install(packages: &[&str], suite: Option<&str>) -> Result<()> {
    let names = packages.join(" ");
    let by_hand = match suite {
        Some(suite) => format!("apt-get install -t {suite} {names} (with {suite} among apt's sources)"),
        None => format!("apt-get install {names}"),
    };
    if !has("apt-get") {
        bail!("missing on this host: {names}, and `apt-get` to install them: {}", remedy("apt-get"));
    }
    let become_root = become_root().ok_or_else(|| anyhow!("missing on this host: {names}; as root: {by_hand}"))?;
    let options = private(suite)?;
    update(&options);
    let mut words: Vec<&str> = become_root.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "install", "-y", "-qq"]);
    words.extend(["--no-install-recommends", "--no-remove"]);
    words.extend(options.iter().map(String::as_str));
    words.extend(suite.iter().flat_map(|suite| ["-t", suite]));
    words.extend(packages);
    let spinner = progress::spinner(&format!("install Debian packages: {names}"));
    let outcome = retried(|| {
        let (program, arguments) = words.split_first().context("no command")?;
        Task::new(program, arguments).limit(INSTALL_LIMIT).read()
    });
    spinner.finish_and_clear();
    outcome.map(drop).with_context(|| format!("cannot install {names}; by hand, as root: {by_hand}"))
}

/// The words to put before a command that only root may run; None where root is out of reach.
fn become_root() -> Option<&'static [&'static str]> {
    if geteuid().is_root() {
        return Some(&[]);
    }
    // -n: a password cannot be asked for behind a progress bar.
    Task::new("sudo", ["-n", "true"]).read().ok().map(|_| ["sudo", "-n"].as_slice())
}

/// A failure is no end: the package may be among what is known already.
fn update(options: &[String]) {
    let spinner = progress::spinner("fetch the package indexes of this host's sources");
    let words = ["update", "-qq"].into_iter().chain(options.iter().map(String::as_str)).collect::<Vec<_>>();
    let outcome = retried(|| Task::new("apt-get", &words).env("LC_ALL", "C").limit(UPDATE_LIMIT).read());
    spinner.finish_and_clear();
    if let Err(error) = outcome {
        progress::note(&format!("going on with the indexes that could be had: {error:#}"));
    }
}

/// Makes the private folder (the lists are fetched without root's rights) and returns the options that select it.
fn private(suite: Option<&str>) -> Result<Vec<String>> {
    let dir = paths::apt().join("host");
    let sources = dir.join("sources.list.d");
    let _ = fs::remove_dir_all(&sources);
    for folder in [&sources, &dir.join("lists/partial")] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    for file in system_sources() {
        if let Some(name) = file.file_name() {
            fs::copy(&file, sources.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
    }
    if let Some(suite) = suite {
        let file = sources.join("pfnwatch.sources");
        fs::write(&file, crate::debian::source(suite)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let option = |name: &str, value: &Path| [String::from("-o"), format!("{name}={}", value.display())];
    let options = [
        option("Dir::Etc::sourceparts", &sources),
        option("Dir::State::lists", &dir.join("lists")),
        option("Dir::Cache::pkgcache", Path::new("")),
        option("Dir::Cache::srcpkgcache", Path::new("")),
        // The user _apt could not write to our folder.
        option("APT::Sandbox::User", Path::new("")),
        option("Acquire::Languages", Path::new("none")),
    ];
    Ok(options.into_iter().flatten().collect())
}

/// The files of /etc/apt/sources.list.d; apt reads /etc/apt/sources.list itself.
fn system_sources() -> Vec<PathBuf> {
    let entries = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let is_source = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "list" || kind == "sources");
    entries.map(|entry| entry.path()).filter(is_source).collect()
}
