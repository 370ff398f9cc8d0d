//! The service with its events in a file, as docs/logs.md has it for collectors.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guest::debian::{self, PACKAGE, UNIT};
use guest::{agent, command, creation};

use super::{is_about, oversize};

const PAGE: &str = "/usr/share/doc/pfnwatch/logs.md";
const FILE: &str = "/var/log/pfnwatch.jsonl";

fn drop_in() -> Result<String> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("no {PAGE}"))?;
    let mut blocks = page.split("```ini\n").filter_map(|rest| Some(rest.split_once("```")?.0));
    let found = blocks.find(|block| block.starts_with("[Service]")).context("no drop-in of the unit")?;
    ensure!(found.contains(FILE), "it does not write to {FILE}: {found}");
    Ok(found.to_owned())
}

#[test]
fn drop_in_of_the_page_writes_a_line_for_each_event() -> Result<()> {
    let region = debian::fresh()?;
    debian::install(PACKAGE)?;
    debian::active()?;
    debian::configure_unit(&drop_in()?)?;
    debian::systemctl(&["restart", UNIT])?;
    debian::active()?;
    let made = creation::create(&oversize(&region))?;
    debian::event("the event of what was made", |event| is_about(event, &["set_up"], &made))?;
    debian::systemctl(&["stop", UNIT])?;
    let written = fs::read_to_string(FILE).with_context(|| format!("no {FILE}{}", debian::status()))?;
    fs::remove_file(FILE)?;
    // The agent before has logged to journald.
    let all = command::run(agent::PROGRAM, &["events", "--format", "json", "--limit", "1000000"])?;
    ensure!(written.contains("\"event\":\"set_up\"") && all.ends_with(&written), "{written}\nis not the end of\n{all}");
    ensure!(all.len() > written.len(), "the file has events from before it existed: {written}");
    Ok(())
}
