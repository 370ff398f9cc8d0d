//! docs/reference/exit-codes.md: what the commands end with, out of their help.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use schemars::JsonSchema as _;

use super::fields::{cell, description};
use crate::cli::Cli;
use crate::model::exit::Exit;

const HEAD: &str = "\
<!-- Written by `cargo xtask docs`: change the code, not this page. -->
# Exit codes

| code | meaning |
|---|---|
";

const LEAD: &str = "Exit codes:";

pub(super) fn page() -> String {
    let mut text = HEAD.to_owned();
    let schema = Exit::json_schema(&mut schemars::SchemaGenerator::default()).to_value();
    for (code, told) in (0..).zip(schema["oneOf"].as_array().unwrap()) {
        let _ = writeln!(text, "| {code} | {} |", description(told).replace(&format!(" ({code})"), ""));
    }
    text += "\n| command | ends with |\n|---|---|\n";
    for (command, codes) in commands(&Cli::command(), "") {
        let _ = writeln!(text, "| `{command}` | {} |", codes.unwrap_or_else(|| "as above".to_owned()));
    }
    text
}

fn commands(command: &clap::Command, above: &str) -> Vec<(String, Option<String>)> {
    let name = format!("{above}{}", command.get_name());
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let codes = help.split_once(LEAD).map(|(_, codes)| cell(codes.trim().trim_end_matches('.')));
    let below = command.get_subcommands().flat_map(|it| commands(it, &format!("{name} ")));
    let own = (!command.has_subcommands() || codes.is_some()).then_some((name.clone(), codes));
    own.into_iter().chain(below).collect()
}

#[test]
fn every_command_tells_its_codes() {
    let silent = commands(&Cli::command(), "").into_iter().find(|(_, codes)| codes.is_none());
    assert_eq!(silent, None);
}
