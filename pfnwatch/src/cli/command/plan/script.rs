//! The plan as a shell script that checks, and rebuilds once.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, absolute};

use anyhow::Context as _;

use super::commands::{Block, CHECKS};
use super::report::Plan;
use super::step::PlanStep;
use crate::model::shell_word::shell_word;
use crate::model::units::Bytes;

/// Writes it into a new file: one that was written for another plan is never mixed with this one.
pub(super) fn write(plan: &Plan, file: &Path, release: &str) -> anyhow::Result<()> {
    let place = absolute(file).with_context(|| format!("where {} would be", file.display()))?;
    let text = script(plan, &place, release);
    let new = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&place);
    new.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {} (a file that is there is not overwritten)", place.display()))
}

/// Writing to a string does not fail.
fn script(plan: &Plan, place: &Path, release: &str) -> String {
    let (file, mark) = (place.display().to_string(), format!("{}.has-run", place.display()));
    let mut text = format!(
        "#!/bin/sh\n\
         # Made by pfnwatch {} under Linux {}.\n\
         # Every rebuild destroys what is in the namespace. Without an argument this only checks. After the backup:\n\
         #     sh {} data-is-backed-up\n\
         set -eu\n\n{CHECKS}",
        env!("CARGO_PKG_VERSION"),
        one_line(release),
        one_line(&shell_word(&file)),
    );
    let steps: Vec<_> = plan.steps.iter().filter_map(|step| Some((step, step.ways.first()?.block.as_ref()?))).collect();
    for (number, (step, block)) in (1..).zip(&steps) {
        functions(&mut text, number, step, block);
    }
    let numbers = 1..=steps.len();
    let checks: String = numbers.clone().map(|number| format!("        (check_{number}) || failed=1\n")).collect();
    let rebuilds: String = numbers.map(|number| format!("rebuild_{number}\n")).collect();
    let first = if steps.is_empty() { "" } else { "(check_1)\n" };
    let _ = write!(
        text,
        "\ncase ${{1-}} in\n    '')\n        failed=0\n{checks}        exit \"$failed\"\n        ;;\n    \
         data-is-backed-up) ;;\n    *) pfnwatch_stop \"the only argument is data-is-backed-up\" ;;\nesac\n{first}\
         mark={}\nmkdir \"$mark\" 2>/dev/null || pfnwatch_stop \"this has run, or $mark cannot be made: make another plan\"\n\
         {rebuilds}",
        shell_word(&mark),
    );
    text
}

fn functions(text: &mut String, number: usize, step: &PlanStep, block: &Block) {
    let _ = write!(
        text,
        "\n# {} ({}, map={}, {}): {} to get back\n",
        step.namespace,
        step.mode,
        step.map,
        Bytes(step.size_bytes),
        Bytes(step.excess_bytes)
    );
    for user in &step.users {
        let _ = writeln!(text, "# In use: {}. To end that: {}", one_line(&user.user), one_line(&user.command));
    }
    let checks: String = block.checks.iter().map(|line| format!("    {line}\n")).collect();
    let actions: String = block.actions.iter().map(|line| format!("    {line}\n")).collect();
    let done = format!("    echo \"{} is as planned, and not in use\"\n", step.namespace);
    let _ =
        write!(text, "check_{number}() {{\n{checks}{done}}}\nrebuild_{number}() (\n    check_{number}\n{actions})\n");
}

/// A text of the host in a comment must not end it.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}
