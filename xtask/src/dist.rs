//! `cargo xtask dist`: the Debian package of the agent that was built, and its checksums; with `--all` every artefact, for every architecture.

mod pages;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::dependencies::{Artefact, Dependencies};
use crate::process::Task;
use crate::setup::CARGO_DEB;
use crate::{debian, paths, toolchain, traces};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Make every artefact, for x86_64 and arm64: Debian package, RPM, tarball, and an SBOM of each
    #[arg(long)]
    pub(crate) all: bool,
}

const LIMIT: Duration = Duration::from_secs(600);
const CHECK: &str = include_str!("dist/check-package.sh");
const MAKE_RPM: &str = include_str!("dist/make-rpm.sh");
const MAKE_TARBALL: &str = include_str!("dist/make-tarball.sh");

/// Makes the package of the agent that was built for this host, looks at what is in it, and writes the checksums. Returns the package.
pub(crate) fn run() -> Result<PathBuf> {
    let dist = paths::dist();
    // A package of an earlier version must not be taken for this one.
    debian::empty_folder(&dist)?;
    let deb = package(Architecture::HOST, &dist, &Date::of_release()?)?;
    write_checksums(&dist)?;
    Ok(deb)
}

/// Makes every artefact of the agents that were built.
pub(crate) fn all() -> Result<()> {
    let (dist, date) = (paths::dist(), Date::of_release()?);
    debian::empty_folder(&dist)?;
    for architecture in Architecture::ALL {
        let deb = package(architecture, &dist, &date)?;
        let tree = paths::release(architecture).join("dist/tree");
        debian::empty_folder(&tree)?;
        debian::unpack(&[&deb], &tree)?;
        let made =
            [deb, rpm((architecture, version()), &tree, &dist, &date)?, tarball(architecture, &tree, &dist, &date)?];
        let dependencies = Dependencies::read(architecture)?;
        made.iter().try_for_each(|file| sbom(architecture, file, &dependencies, &date))?;
    }
    write_checksums(&dist)
}

/// When the version was released, by the last entry of Debian's changelog: the time of every file in the artefacts.
struct Date {
    /// Seconds since 1970, for tools that know SOURCE_DATE_EPOCH.
    epoch: String,
    /// As `2026-11-23T00:00:00Z`.
    text: String,
}

impl Date {
    fn of_release() -> Result<Self> {
        let changelog = fs::read_to_string(paths::root().join("pfnwatch/dist/debian/changelog"))?;
        let written = changelog.lines().find_map(|line| Some(line.strip_prefix(" -- ")?.split_once(">  ")?.1));
        let written = written.context("Debian's changelog has no date")?;
        let format = |how: &str| -> Result<String> {
            Ok(Task::new("date", ["--utc", "--date", written, how]).read()?.trim().to_owned())
        };
        Ok(Self { epoch: format("+%s")?, text: format("+%Y-%m-%dT%H:%M:%SZ")? })
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The Debian package, checked.
fn package(architecture: Architecture, dist: &Path, date: &Date) -> Result<PathBuf> {
    let program = paths::release(architecture).join("pfnwatch");
    documents(architecture)?;
    let deb = deb(architecture, dist, date)?;
    let units = paths::root().join("pfnwatch/dist/systemd");
    Task::script(CHECK, [&deb, &program, &units, &paths::agent()]).show()?;
    traces::refuse(&program)?;
    Ok(deb)
}

fn write_checksums(dist: &Path) -> Result<()> {
    let sums = Task::new("sh", ["-c", "sha256sum -- pfnwatch* | tee SHA256SUMS"]).dir(dist).read()?;
    print!("in {}, with SHA256SUMS:\n{sums}", dist.display());
    Ok(())
}

/// Documents, man pages and completions, where the package takes them from. The last two depend on the command line alone: a build without
/// optimisations writes the same. The unit tests have built that program, with the same choice of packages: another choice would have cargo
/// compile half of the agent again, with fewer features of its dependencies.
fn documents(architecture: Architecture) -> Result<()> {
    let folder = paths::release(architecture).join("dist");
    pages::write(&folder.join("doc"))?;
    let task = toolchain::workspace_task("build", &[["--example", "documents"], toolchain::MESSAGES].concat());
    let program = toolchain::executable(&task.limit(LIMIT).read()?, "example", "documents")?;
    Task::new(program, [&folder]).read()?;
    // As Debian wants them: without names and times, so that the same page is the same file.
    Task::new("sh", ["-c", "gzip -9n -- *.1"]).dir(&folder.join("man")).read().map(drop)
}

/// cargo-deb packs what was built, and strips and builds nothing itself.
fn deb(architecture: Architecture, dist: &Path, date: &Date) -> Result<PathBuf> {
    let manifest = paths::root().join("pfnwatch/Cargo.toml");
    let options =
        ["--no-build", "--no-strip", "--compress-system", "--target", architecture.target(), "--manifest-path"];
    let arguments =
        options.into_iter().map(Into::into).chain([manifest.into_os_string(), "--output".into(), dist.into()]);
    let task = Task::new(CARGO_DEB.path(), arguments).dir(&paths::root()).env("SOURCE_DATE_EPOCH", &date.epoch);
    task.limit(LIMIT).show()?;
    let ending = format!("_{}.deb", architecture.debian_name());
    let entries = fs::read_dir(dist)?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.to_string_lossy().ends_with(&ending)).context("cargo-deb made no package")
}

/// An RPM of the files in the Debian package for this host, and the same with a higher version, in a folder.
pub(crate) fn rpms(deb: &Path, folder: &Path) -> Result<[PathBuf; 2]> {
    let (tree, date) = (folder.join("rpm-tree"), Date::of_release()?);
    debian::empty_folder(&tree)?;
    debian::unpack(&[deb], &tree)?;
    let rpm = |version: &str| rpm((Architecture::HOST, version), &tree, folder, &date);
    Ok([rpm(version())?, rpm(&format!("{}+later", version()))?])
}

/// rpmbuild packs the same files.
fn rpm((architecture, version): (Architecture, &str), tree: &Path, dist: &Path, date: &Date) -> Result<PathBuf> {
    let file = dist.join(format!("pfnwatch-{version}-1.{}.rpm", architecture.name()));
    let spec = paths::root().join("pfnwatch/dist/rpm/pfnwatch.spec");
    let words = [spec.as_os_str(), architecture.name().as_ref(), version.as_ref(), tree.as_os_str(), file.as_os_str()];
    let task = Task::script(MAKE_RPM, words).env("SOURCE_DATE_EPOCH", &date.epoch);
    task.limit(LIMIT).read().map(|_| file)
}

/// The same files again, with a script that installs them where neither package manager is.
fn tarball(architecture: Architecture, tree: &Path, dist: &Path, date: &Date) -> Result<PathBuf> {
    let file = dist.join(format!("pfnwatch-{}-linux-{}.tar.gz", version(), architecture.name()));
    let script = paths::root().join("pfnwatch/dist/tarball/install.sh");
    let words = [script.as_os_str(), tree.as_os_str(), file.as_os_str()];
    let task = Task::script(MAKE_TARBALL, words).env("SOURCE_DATE_EPOCH", &date.epoch);
    task.limit(LIMIT).read().map(|_| file)
}

fn sbom(architecture: Architecture, file: &Path, dependencies: &Dependencies, date: &Date) -> Result<()> {
    let sum = Task::new("sha256sum", ["--".as_ref(), file.as_os_str()]).read()?;
    let sha256 = sum.split(' ').next().unwrap_or_default();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let sbom = dependencies.sbom(&Artefact { name: &name, sha256, architecture, time: &date.text })?;
    Ok(fs::write(file.with_file_name(format!("{name}.cdx.json")), format!("{sbom:#}\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_of_the_release_is_that_of_the_changelog() {
        let date = Date::of_release().unwrap();
        assert!(date.epoch.parse::<u64>().is_ok_and(|epoch| epoch > 1_700_000_000), "{}", date.epoch);
        assert!(date.text.starts_with("20") && date.text.ends_with('Z'), "{}", date.text);
    }

    /// A folder as the tarball is unpacked, with these lines as the program.
    fn unpacked(program: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let script = fs::read_to_string(paths::root().join("pfnwatch/dist/tarball/install.sh")).unwrap();
        for (file, content) in [
            ("install.sh", script.as_str()),
            ("usr/bin/pfnwatch", program),
            ("usr/share/doc/pfnwatch/examples/a.toml", "a"),
            ("etc/pfnwatch/pfnwatch.toml", "# as delivered"),
        ] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Task::new("chmod", ["+x", "usr/bin/pfnwatch"]).dir(folder.path()).read().unwrap();
        folder
    }

    fn files(root: &Path) -> String {
        Task::script("# list\nfind . -type f | sort", [""; 0]).dir(root).read().unwrap()
    }

    #[test]
    fn install_script_keeps_what_somebody_has_changed_and_removes_what_it_installed() {
        let (from, root) = (unpacked("1"), tempfile::tempdir().unwrap());
        let script = |word: &str| {
            let words = ["install.sh", "--root", &root.path().to_string_lossy(), word].map(str::to_owned);
            Task::new("sh", words.iter().filter(|word| !word.is_empty())).dir(from.path()).read()
        };
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/other"), "").unwrap();
        script("").unwrap();
        let configuration = root.path().join("etc/pfnwatch/pfnwatch.toml");
        assert_eq!(fs::read_to_string(&configuration).unwrap(), "# as delivered");
        fs::write(&configuration, "# changed").unwrap();
        assert!(script("").unwrap().contains("was kept"));
        assert_eq!(
            files(root.path()),
            "./etc/pfnwatch/pfnwatch.toml\n./etc/pfnwatch/pfnwatch.toml.new\n./usr/bin/other\n./usr/bin/pfnwatch\n\
             ./usr/share/doc/pfnwatch/examples/a.toml\n"
        );
        script("--remove").unwrap();
        assert!(!root.path().join("usr/share/doc/pfnwatch").exists(), "{}", files(root.path()));
        assert_eq!(fs::read_to_string(&configuration).unwrap(), "# changed");
        assert!(root.path().join("usr/bin/other").exists());
        assert!(script("--rot").unwrap_err().to_string().contains("unknown argument --rot"));
    }

    /// It installs nothing: the program is no program of this machine.
    #[test]
    fn install_script_refuses_a_program_of_another_machine() {
        let from = unpacked("\x7fELF, and nothing that runs");
        let error = Task::new("sh", ["install.sh"]).dir(from.path()).read().unwrap_err().to_string();
        assert!(error.contains("does not run on this machine"), "{error}");
    }

    #[test]
    fn debians_changelog_begins_with_the_version() {
        let changelog = fs::read_to_string(paths::root().join("pfnwatch/dist/debian/changelog")).unwrap();
        assert!(changelog.starts_with(&format!("pfnwatch ({}-", version())), "{changelog}");
    }
}
