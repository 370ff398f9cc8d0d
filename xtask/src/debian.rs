//! Debian's packages without touching the system: one private apt folder a suite, under the target folder.
//!
//! apt itself does what must be right: it checks the index's signature and each package's hash. The host's own apt
//! settings, lists and state are neither used nor changed, but for how to reach the network (proxies and the like).

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};

use crate::process::Task;
use crate::{paths, progress};

mod closure;
mod config;
mod stanza;
mod version;

pub(crate) use config::source;
pub(crate) use stanza::Package;

/// An index younger than this is used as it is.
const INDEX_AGE: Duration = Duration::from_secs(24 * 3600);
const UPDATE_LIMIT: Duration = Duration::from_secs(180);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// A Debian suite whose index is here.
pub(crate) struct Suite {
    name: String,
    dir: PathBuf,
}

/// A suite that could not be had, and why: to be named to the user, and no reason to end.
#[derive(Debug)]
pub(crate) struct NotAvailable {
    /// The suite's name.
    pub(crate) suite: String,
    /// One line: what apt said.
    pub(crate) reason: String,
}

impl fmt::Display for NotAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Debian suite {} is not available: {}", self.suite, self.reason)
    }
}

impl std::error::Error for NotAvailable {}

impl Suite {
    /// Opens a suite such as `bookworm` or `trixie-backports`; its index is fetched where it is missing or a day old.
    /// An old index does where a new one cannot be had. Where there is none, the error is a `NotAvailable`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let suite = Self { name: name.to_owned(), dir: paths::apt().join(name) };
        let _lock = suite.lock()?;
        if suite.index_age().is_none_or(|age| age > INDEX_AGE) {
            suite.refresh()?;
        }
        Ok(suite)
    }

    /// The suite's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Every version of every package whose name starts with `prefix` and is accepted; the newest version first.
    pub(crate) fn packages(&self, prefix: &str, accept: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
        let names = self.apt("apt-cache", &["pkgnames", prefix]).read()?;
        let names: Vec<&str> = names.lines().map(str::trim).filter(|name| accept(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let arguments: Vec<&str> = ["show"].iter().chain(&names).copied().collect();
        // A name may be known from others' dependencies alone: apt-cache then fails for want of a package to show.
        let shown = self.apt("apt-cache", &arguments).read().unwrap_or_default();
        let mut packages = stanza::parse(&shown, &self.name);
        version::newest_first(&mut packages);
        Ok(packages)
    }

    /// The package of exactly this name, in its newest version.
    pub(crate) fn package(&self, name: &str) -> Result<Package> {
        let found = self.packages(name, |candidate| candidate == name)?.into_iter().next();
        found.ok_or_else(|| anyhow!("Debian suite {} holds no package {name}", self.name))
    }

    /// The package's .deb file, downloaded unless it is in the cache; apt checks it against the signed index.
    pub(crate) fn download(&self, package: &Package) -> Result<PathBuf> {
        let cache = paths::cache().join("deb");
        let file = cache.join(&package.file_name);
        if file.is_file() {
            return Ok(file);
        }
        let part = cache.join(format!("{}.part", package.file_name));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        let wanted = format!("{}={}", package.name, package.version);
        let bar = progress::bytes(&format!("download {wanted}"), package.size_bytes);
        retried(|| {
            let task = self.apt("apt-get", &["download", "-qq", &wanted]).dir(&part).limit(DOWNLOAD_LIMIT);
            task.read_with(|| bar.set_position(size_of_files(&part)))
        })
        .with_context(|| format!("cannot download {wanted} from Debian suite {}", self.name))?;
        bar.finish_and_clear();
        let got = first_file(&part).with_context(|| format!("apt-get left no file for {wanted}"))?;
        fs::rename(&got, &file).with_context(|| format!("cannot move {} into the cache", got.display()))?;
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        Ok(file)
    }

    /// Resolves and downloads in one go. Where the file has gone from the archive because the index is a little old,
    /// the index is fetched anew and the choice made again.
    pub(crate) fn fetch(&self, choose: impl Fn(&Self) -> Result<Package>) -> Result<(Package, PathBuf)> {
        let package = choose(self)?;
        match self.download(&package) {
            Ok(file) => Ok((package, file)),
            Err(_) => {
                let lock = self.lock()?;
                self.refresh()?;
                drop(lock);
                let package = choose(self)?;
                let file = self.download(&package)?;
                Ok((package, file))
            }
        }
    }

    /// Fetches the index, a second time where the first fails.
    fn refresh(&self) -> Result<()> {
        config::write(&self.dir, &self.name)?;
        let spinner = progress::spinner(&format!("fetch the package index of Debian {}", self.name));
        // Without Error-Mode apt-get answers 0 although the network is away.
        let arguments = ["update", "-qq", "-o", "APT::Update::Error-Mode=any"];
        let outcome = retried(|| self.apt("apt-get", &arguments).limit(UPDATE_LIMIT).read());
        spinner.finish_and_clear();
        match outcome {
            Ok(_) => {
                File::create(self.stamp()).map(drop).with_context(|| format!("cannot write {}", self.stamp().display()))
            }
            Err(error) if self.index_age().is_some() => {
                progress::note(&format!("Debian {}: going on with an old index: {}", self.name, reason(&error)));
                Ok(())
            }
            Err(error) => Err(NotAvailable { suite: self.name.clone(), reason: reason(&error) }.into()),
        }
    }

    /// How old the index is; None where there is none.
    fn index_age(&self) -> Option<Duration> {
        let written = fs::metadata(self.stamp()).and_then(|meta| meta.modified()).ok()?;
        Some(SystemTime::now().duration_since(written).unwrap_or_default())
    }

    /// The file whose time is that of the last refresh.
    fn stamp(&self) -> PathBuf {
        self.dir.join("refreshed")
    }

    /// Keeps a second xtask off this suite's lists until it is dropped.
    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        let file = File::create(self.dir.join("lock")).with_context(|| format!("no lock in {}", self.dir.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", self.dir.display()))?;
        Ok(file)
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Task {
        Task::new(program, arguments).env("APT_CONFIG", config::file(&self.dir)).env("LC_ALL", "C")
    }
}

/// Unpacks a .deb file into a folder, never into the system.
pub(crate) fn unpack(deb: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    Task::new("dpkg-deb", [Path::new("-x"), deb, into]).read().map(drop)
}

/// A package of a suite, unpacked under the target folder: nothing of it is installed. Gives its root.
pub(crate) fn unpacked(suite: &str, name: &str) -> Result<PathBuf> {
    let (package, deb) = Suite::open(suite)?.fetch(|suite| suite.package(name))?;
    let folder = paths::cache().join(package.file_name.trim_end_matches(".deb"));
    if !folder.is_dir() {
        let part = tempfile_beside(&folder);
        unpack(&deb, &part)?;
        // Another xtask may have been quicker.
        if fs::rename(&part, &folder).is_err() {
            let _ = fs::remove_dir_all(&part);
        }
    }
    Ok(folder)
}

/// A path of this process' own in the same folder.
fn tempfile_beside(path: &Path) -> PathBuf {
    path.with_extension(format!("part-{}", std::process::id()))
}

/// apt fails now and then where a second try does not.
pub(crate) fn retried<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    attempt().or_else(|_| attempt())
}

/// The line in which apt says what is wrong.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let said = text.lines().map(str::trim).find(|line| line.starts_with("E: "));
    said.map_or_else(|| text.lines().next().unwrap_or_default().to_owned(), |line| line.replacen("E: ", "", 1))
}

fn first_file(dir: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"))
}

fn size_of_files(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
