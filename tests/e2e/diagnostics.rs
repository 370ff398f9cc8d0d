//! What the agent reports besides events of namespaces: what the kernel reserves for each page, and debug messages.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, PROGRAM};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::{MIB, regions, wait};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

fn wanted(region: &str) -> NamespaceSpec {
    NamespaceSpec {
        region: region.to_owned(),
        size_bytes: 64 * MIB,
        mode: Mode::Devdax,
        map: Map::Mem,
        align_bytes: 2 * MIB,
    }
}

/// The first event about MAX_STRUCT_PAGE_SIZE whose evidence has this word; its value.
fn max_struct_page(agent: &mut Agent, word: &str) -> Result<Value> {
    agent.event(&format!("MAX_STRUCT_PAGE_SIZE by {word}"), TIMEOUT, |event| {
        let found = event["event"] == "max_struct_page" && event["evidence"].to_string().contains(word);
        found.then(|| event.clone())
    })
}

#[test]
fn max_struct_page_size_by_code_and_by_what_was_written() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let by_code = max_struct_page(&mut agent, "as it runs")?;
    assert_eq!(
        (&by_code["max_struct_page_size_bytes"], &by_code["conflicting_evidence"]),
        (&64.into(), &Value::Array(vec![]))
    );
    creation::create(&wanted(&regions.first))?;
    let observed = max_struct_page(&mut agent, "the block that this kernel wrote")?;
    assert_eq!(observed["max_struct_page_size_bytes"], 64);
    Ok(())
}

#[test]
fn debug_messages_of_the_programs_reach_the_log() -> Result<()> {
    const LOG: &str = "/run/debug.log";
    let regions = regions::fresh()?;
    let mut agent = Command::new(PROGRAM)
        .args(["run", "--debug-ebpf"])
        .env("RUST_LOG", "debug")
        .stdout(Stdio::null())
        .stderr(File::create(LOG)?)
        .spawn()
        .context("cannot start the agent")?;
    let said = |word: &'static str| move || fs::read_to_string(LOG).ok().filter(|log| log.contains(word));
    wait::until("the programs", TIMEOUT, said("programs attached"))?;
    creation::create(&wanted(&regions.first))?;
    let log = wait::until("a message of a program", TIMEOUT, said("set-up returns 0"));
    agent.kill()?;
    agent.wait()?;
    ensure!(log?.contains("attempt begins"), "{}", fs::read_to_string(LOG)?);
    Ok(())
}
