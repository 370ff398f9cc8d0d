//! Debian's packages without touching the system: one private apt folder for each suite, under the target folder.
//!
//! apt itself checks the index's signature and each package's hash. The host's own apt settings, lists and state are neither used
//! nor changed, except for how to reach the network (proxies and the like).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use fs_err::{self as fs, File};

use crate::architecture::Architecture;
use crate::paths;
use crate::process::Task;

pub(crate) const MIRROR: &str = "http://deb.debian.org/debian";
/// Debian 12's keyring has the keys of bullseye, bookworm and trixie.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// An index younger than this is used as it is.
const INDEX_AGE: Duration = Duration::from_secs(24 * 3600);
const UPDATE_LIMIT: Duration = Duration::from_secs(180);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// For x86_64, which the guests are whatever the host is; what the build takes from here is for every architecture.
const SETTINGS: &str = include_str!("debian/apt.conf");
/// apt-get installs nothing but what is needed.
const INSTALL: [&str; 4] = ["install", "-qq", "--yes", "--no-install-recommends"];

pub(crate) struct Suite {
    pub(crate) name: String,
    dir: PathBuf,
    architecture: Architecture,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) file_name: String,
}

/// What Debian's archive or this host does not have, and why: reported to the user, and no reason to end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotAvailable(pub(crate) String);

impl Suite {
    /// Opens a suite; its index is fetched if it is missing or a day old. An old index is used if a new one cannot be had. If
    /// there is none, the error is a `NotAvailable`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        Self::open_for(name, Architecture::X86_64)
    }

    /// The suite's packages for this architecture: each has a folder of its own.
    pub(crate) fn open_for(name: &str, architecture: Architecture) -> Result<Self> {
        let folder = match architecture {
            Architecture::X86_64 => name.to_owned(),
            Architecture::Arm64 => format!("{name}-{}", architecture.debian_name()),
        };
        let suite = Self { name: name.to_owned(), dir: paths::apt().join(folder), architecture };
        let _lock = suite.lock()?;
        if !suite.is_configured() || suite.index_age().is_none_or(|age| age > INDEX_AGE) {
            suite.refresh()?;
        }
        Ok(suite)
    }

    /// Every version of every package whose name starts with `prefix` and is accepted; the newest name first, and of one
    /// name the newest version.
    pub(crate) fn packages(&self, prefix: &str, accept: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
        let script = r#"apt-cache pkgnames "$1" | sort --reverse --version-sort"#;
        let names = self.with_config(Task::script(script, [prefix])).read()?;
        let names: Vec<&str> = names.lines().filter(|name| accept(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // A name may be known from others' dependencies alone: apt-cache then fails, because it has no package to show.
        let shown = self.apt("apt-cache", &[["show"].as_slice(), &names].concat()).read().unwrap_or_default();
        let mut packages: Vec<Package> = shown.split("\n\n").filter_map(Package::parse).collect();
        packages.sort_by_key(|package| names.iter().position(|name| *name == package.name));
        Ok(packages)
    }

    pub(crate) fn package(&self, name: &str) -> Result<Package> {
        let found = self.packages(name, |candidate| candidate == name)?.into_iter().next();
        found.ok_or_else(|| anyhow!("Debian suite {} holds no package {name}", self.name))
    }

    pub(crate) fn download(&self, package: &Package) -> Result<PathBuf> {
        let cache = paths::cache().join("deb");
        let file = cache.join(&package.file_name);
        if file.is_file() {
            return Ok(file);
        }
        let part = cache.join(format!("{}.part", package.file_name));
        empty_folder(&part)?;
        let wanted = format!("{}={}", package.name, package.version);
        eprintln!("download {wanted} …");
        retried(|| self.apt("apt-get", &["download", "-qq", &wanted]).dir(&part).limit(DOWNLOAD_LIMIT).read())
            .with_context(|| format!("cannot download {wanted} from Debian suite {}", self.name))?;
        let got = fs::read_dir(&part)?.flatten().map(|entry| entry.path()).find(|path| path.is_file());
        let got = got.with_context(|| format!("apt-get left no file for {wanted}"))?;
        fs::rename(&got, &file)?;
        fs::remove_dir_all(&part)?;
        Ok(file)
    }

    /// Resolves and downloads in one go. If the file has gone from the archive because the index is a little old, the index is
    /// fetched again and the choice is repeated.
    pub(crate) fn fetch(&self, choose: impl Fn(&Self) -> Result<Package>) -> Result<(Package, PathBuf)> {
        self.with_new_index_if_needed(|| {
            let package = choose(self)?;
            let file = self.download(&package)?;
            Ok((package, file))
        })
    }

    /// The .deb files of these packages and of all that they depend on, each after those that it needs. apt resolves them as
    /// for an empty system, fetches what is not in the cache, and checks each against the signed index.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        self.with_new_index_if_needed(|| {
            let _lock = self.lock()?;
            let archives = self.dir.join("archives");
            let wanted = [&INSTALL, names].concat();
            // With the cache hidden, all files are listed: otherwise only those that are to be fetched.
            let hidden = ["--print-uris", "-o", "Dir::Cache::archives=none"];
            let listed = self.apt("apt-get", &[wanted.as_slice(), &hidden].concat()).read()?;
            let files: Vec<PathBuf> = listed.lines().filter_map(file_name).map(|name| archives.join(name)).collect();
            ensure!(!files.is_empty(), "Debian suite {} resolves nothing of {names:?}", self.name);
            if !files.iter().all(|file| file.is_file()) {
                eprintln!("download {} packages of Debian {} …", files.len(), self.name);
                let words = [wanted.as_slice(), &["--download-only"]].concat();
                retried(|| self.apt("apt-get", &words).limit(DOWNLOAD_LIMIT).read())
                    .with_context(|| format!("cannot download {names:?} from Debian suite {}", self.name))?;
            }
            Ok(files)
        })
    }

    fn with_new_index_if_needed<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        attempt().or_else(|_| {
            let lock = self.lock()?;
            self.refresh()?;
            drop(lock);
            attempt()
        })
    }

    fn refresh(&self) -> Result<()> {
        self.configure()?;
        eprintln!("fetch the package index of Debian {} …", self.name);
        // Without Error-Mode apt-get answers 0 although the network is down.
        let arguments = ["update", "-qq", "-o", "APT::Update::Error-Mode=any"];
        match retried(|| self.apt("apt-get", &arguments).limit(UPDATE_LIMIT).read()) {
            Ok(_) => Ok(fs::write(self.stamp(), "")?),
            Err(error) if self.index_age().is_some() => {
                eprintln!("Debian {}: going on with an old index: {}", self.name, reason(&error));
                Ok(())
            }
            Err(error) => {
                Err(NotAvailable(format!("Debian suite {} is not available: {}", self.name, reason(&error))).into())
            }
        }
    }

    fn configure(&self) -> Result<()> {
        ensure!(Path::new(KEYRING).exists(), "{KEYRING} is missing: apt-get install debian-archive-keyring");
        for folder in ["sources.list.d", "lists/partial", "archives/partial", "state"] {
            fs::create_dir_all(self.dir.join(folder))?;
        }
        let network = network(&Task::new("apt-config", ["dump"]).env("LC_ALL", "C").read()?);
        fs::write(self.dir.join("state/status"), "")?;
        fs::write(self.dir.join("sources.list.d/debian.list"), source(&self.name))?;
        let settings =
            SETTINGS.replace("DIR", &self.dir.to_string_lossy()).replace("amd64", self.architecture.debian_name());
        Ok(fs::write(self.dir.join("apt.conf"), settings + &network)?)
    }

    /// Whether apt would use this folder: one that was copied from another place has that place in its settings.
    fn is_configured(&self) -> bool {
        let settings = fs::read_to_string(self.dir.join("apt.conf")).unwrap_or_default();
        settings.contains(&format!("\"{}/", self.dir.display()))
    }

    fn index_age(&self) -> Option<Duration> {
        let written = fs::metadata(self.stamp()).and_then(|meta| meta.modified()).ok()?;
        Some(SystemTime::now().duration_since(written).unwrap_or_default())
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("refreshed")
    }

    fn lock(&self) -> Result<File> {
        paths::lock(&self.dir)
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Task {
        self.with_config(Task::new(program, arguments))
    }

    fn with_config(&self, task: Task) -> Task {
        task.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C")
    }
}

impl Package {
    /// From a paragraph of `apt-cache show`; `None` without a file (a virtual package).
    fn parse(paragraph: &str) -> Option<Self> {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let file_name = field("Filename")?.rsplit('/').next()?.to_owned();
        Some(Self { name: field("Package")?.to_owned(), version: field("Version")?.to_owned(), file_name })
    }
}

/// One of Debian's suites as a source for apt, whose signature is checked with Debian's own keys.
pub(crate) fn source(suite: &str) -> String {
    format!("deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
}

/// The host's apt settings that concern the network.
fn network(dump: &str) -> String {
    let names = ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"];
    let ours = |line: &&str| names.iter().any(|name| line.starts_with(name));
    dump.lines().filter(ours).fold(String::new(), |text, line| text + line + "\n")
}

/// `'http://…/dash_0.5.12-2_amd64.deb' dash_0.5.12-2_amd64.deb 97696 MD5Sum:…`
fn file_name(line: &str) -> Option<&str> {
    line.split_whitespace().nth(1).filter(|name| name.ends_with(".deb"))
}

pub(crate) fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

/// Unpacks .deb files into a folder, never into the system.
pub(crate) fn unpack<P: AsRef<Path>>(debs: &[P], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    debs.iter().try_for_each(|deb| Task::new("dpkg-deb", [Path::new("-x"), deb.as_ref(), into]).read().map(drop))
}

/// A package of a suite, unpacked under the target folder: nothing of it is installed. Returns its root.
pub(crate) fn unpacked(suite: &str, name: &str) -> Result<PathBuf> {
    let (package, deb) = Suite::open(suite)?.fetch(|suite| suite.package(name))?;
    unpacked_as(package.file_name.trim_end_matches(".deb"), &[deb])
}

pub(crate) fn unpacked_as(name: &str, debs: &[PathBuf]) -> Result<PathBuf> {
    let folder = paths::cache().join(name);
    if !folder.is_dir() {
        let part = paths::cache().join(format!("{name}.part-{}", std::process::id()));
        unpack(debs, &part)?;
        // Another xtask may have been quicker.
        if fs::rename(&part, &folder).is_err() {
            let _ = fs::remove_dir_all(&part);
        }
    }
    Ok(folder)
}

/// apt fails now and then, and succeeds at the second try.
fn retried<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    attempt().or_else(|_| attempt())
}

/// The line with apt's error.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let message = text.lines().find_map(|line| line.trim().strip_prefix("E: "));
    message.or(text.lines().next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_apt_are_read() {
        let text = "Package: linux-image-cloud-amd64\nVersion: 6.12.1-1\nFilename: pool/main/l/x_1_amd64.deb\n b: c";
        let package = Package::parse(text).unwrap();
        let found = [&package.name, &package.version, &package.file_name].map(String::as_str);
        assert_eq!(found, ["linux-image-cloud-amd64", "6.12.1-1", "x_1_amd64.deb"]);
        assert_eq!(Package::parse("Package: virtual\nVersion: 1\n"), None);
        let line =
            "'http://deb.debian.org/x/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb 22164 MD5Sum:7\n";
        assert_eq!(file_name(line), Some("libattr1_1%3a2.5.1-4_amd64.deb"));
        assert_eq!(file_name("E: Unable to locate package x"), None);
    }

    #[test]
    fn a_folder_that_was_copied_from_another_place_is_not_configured() {
        let folder = tempfile::tempdir().unwrap();
        let suite =
            Suite { name: "bookworm".to_owned(), dir: folder.path().to_owned(), architecture: Architecture::X86_64 };
        assert!(!suite.is_configured());
        for (place, is_configured) in [(folder.path(), true), (Path::new("/elsewhere"), false)] {
            fs::write(folder.path().join("apt.conf"), SETTINGS.replace("DIR", &place.to_string_lossy())).unwrap();
            assert_eq!(suite.is_configured(), is_configured, "{}", place.display());
        }
    }

    #[test]
    fn of_the_system_only_network_settings_are_used() {
        let dump = "Acquire::http::Proxy \"http://p:1\";\nAcquire::IndexTargets::deb \"\";\nDPkg::Pre-Invoke \"x\";\n\
                    Acquire::Check-Date \"false\";\n";
        assert_eq!(network(dump), "Acquire::http::Proxy \"http://p:1\";\nAcquire::Check-Date \"false\";\n");
        assert!(!SETTINGS.contains("/var/") && !SETTINGS.contains("/etc/"));
    }
}
