//! `pfnwatch debug-info` as root beside an agent: the parts that only a kernel has, and that nothing is changed.

use std::fs::{self, File};
use std::io::Read;

use anyhow::{Result, ensure};
use flate2::read::GzDecoder;
use guest::agent::{Agent, PROGRAM};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{MIB, command, namespace, ndctl, regions};

const ARCHIVE: &str = "/run/debug-info.tar.gz";

/// A new archive, unpacked: its files one after the other, with headers in between.
fn archive(options: &[&str]) -> Result<String> {
    let listed = command::run(PROGRAM, &[&["debug-info", "--output", ARCHIVE], options].concat())?;
    ensure!(listed.contains("verifier.log") && listed.contains(ARCHIVE), "{listed}");
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(ARCHIVE)?).read_to_end(&mut bytes)?;
    fs::remove_file(ARCHIVE)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn archive_has_the_verifiers_answers_and_changes_nothing() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Agent::start(&[])?;
    let kept = creation::create(&NamespaceSpec::new(&region, Mode::Fsdax, 64 * MIB))?;
    agent.set_up(&kept.namespace_uuid, "made")?;
    let disabled = creation::create(&NamespaceSpec::new(&region, Mode::Devdax, 64 * MIB))?;
    agent.set_up(&disabled.namespace_uuid, "made")?;
    namespace::disable(&disabled.namespace)?;
    let before = ndctl::ndctl(&["list", "-NiRX"])?;
    let text = archive(&[])?;
    assert_eq!(ndctl::ndctl(&["list", "-NiRX"])?, before);
    let count = |needle: &str| text.matches(needle).count();
    ensure!(count(": loads\n") >= 10, "few programs load: {text}");
    // Events of the guard's state have it, too.
    ensure!(count("\"enforcement_effective\"") > 0, "no status: {text}");
    let uuids = [&kept.namespace_uuid, &kept.block_uuid, &disabled.namespace_uuid];
    ensure!(uuids.into_iter().all(|uuid| count(uuid) > 0), "{uuids:?} are not all in events and blocks");
    let anonymous = archive(&["--anonymize"])?;
    ensure!(!uuids.into_iter().any(|uuid| anonymous.contains(uuid)), "one of {uuids:?} is left");
    // Loading the programs again has not disturbed those of the agent.
    namespace::enable(&disabled.namespace)?;
    agent.set_up(&disabled.namespace_uuid, "existing").map(drop)
}
