//! The configuration of a private apt folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::Task;

const MIRROR: &str = "http://deb.debian.org/debian";
/// Debian 12's keyring has the keys of bullseye, bookworm and trixie.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The file that `APT_CONFIG` is to name.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("apt.conf")
}

/// Writes the folder's configuration and its one source.
pub(super) fn write(dir: &Path, suite: &str) -> Result<()> {
    ensure!(Path::new(KEYRING).exists(), "{KEYRING} is missing: apt-get install debian-archive-keyring");
    for sub in ["sources.list.d", "lists/partial", "archives/partial", "state"] {
        fs::create_dir_all(dir.join(sub)).with_context(|| format!("cannot create {sub} in {}", dir.display()))?;
    }
    let network = network(&Task::new("apt-config", ["dump"]).env("LC_ALL", "C").read()?);
    let files = [
        ("state/status", String::new()),
        ("sources.list.d/debian.sources", source(suite)),
        ("apt.conf", settings(dir, &network)),
    ];
    for (name, text) in files {
        fs::write(dir.join(name), text).with_context(|| format!("cannot write {name} in {}", dir.display()))?;
    }
    Ok(())
}

/// One of Debian's suites as a source for apt, whose signature is checked with Debian's own keys.
pub(crate) fn source(suite: &str) -> String {
    format!("Types: deb\nURIs: {MIRROR}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n")
}

/// The guests are x86_64 whatever the host is; what the build takes from here is for every architecture.
fn settings(dir: &Path, network: &str) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{dir}/sources.list.d";
Dir::State "{dir}/state";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/state/status";
Dir::Cache "{dir}";
Dir::Cache::archives "{dir}/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
// The folder is ours; the user _apt could not write to it.
APT::Sandbox::User "";
Acquire::Languages "none";
{network}"#
    )
}

/// Of the host's settings, those that say how to reach the network.
fn network(dump: &str) -> String {
    let ours = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    dump.lines().filter(ours).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_settings_are_taken_over() {
        let dump = "Acquire::http::Proxy \"http://p:1\";\nAcquire::IndexTargets::deb \"\";\nDPkg::Pre-Invoke \"x\";\n\
                    Acquire::Check-Date \"false\";\n";
        assert_eq!(network(dump), "Acquire::http::Proxy \"http://p:1\";\nAcquire::Check-Date \"false\";\n");
    }

    #[test]
    fn nothing_of_the_system_is_named() {
        let text = settings(Path::new("/t/apt/trixie"), "");
        assert!(!text.contains("/var/") && !text.contains("/etc/"), "{text}");
    }
}
