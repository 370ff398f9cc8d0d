//! Names of devices are handed out again: the lowest that is free. Two namespaces that come back in the other order have
//! swapped theirs, and nothing that is known by a name holds.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Mode};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions};

use super::fixtures::small;

const ROUNDS: usize = 50;
/// 0 disarms all kprobes of the kernel, 1 arms them again.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

/// Swaps the names of two namespaces' holders so often; returns how often they really changed.
pub(super) fn swap(namespaces: &[String; 2], rounds: usize) -> Result<usize> {
    let mut swapped = 0;
    for round in 0..rounds {
        let [mut first, mut second] = namespaces.each_ref();
        if round.is_multiple_of(2) {
            (first, second) = (second, first);
        }
        let before = namespace::holder(&namespaces[0])?;
        namespace::disable(&namespaces[0])?;
        namespace::disable(&namespaces[1])?;
        for name in [first, second] {
            namespace::enable(name).with_context(|| format!("round {round}"))?;
        }
        swapped += usize::from(namespace::holder(&namespaces[0])? != before);
    }
    Ok(swapped)
}

fn swapped_names_pass(mode: Mode, stance: GuardMode) -> Result<()> {
    let region = regions::fresh()?.first;
    let [first, second] = [(), ()].map(|()| creation::create(&small(&region, mode)));
    let namespaces = [first?.namespace, second?.namespace];
    let mut guard = Guard::start(&Policy::strict(stance))?;
    let seen = swap(&namespaces, ROUNDS / 2).with_context(|| guard.output())?;
    // The guard's own eyes closed: what it does not see, it must not take for a creation.
    fs::write(KPROBES, "0").with_context(|| format!("cannot write {KPROBES}"))?;
    let unseen = swap(&namespaces, ROUNDS / 2);
    fs::write(KPROBES, "1").with_context(|| format!("cannot write {KPROBES}"))?;
    let unseen = unseen.with_context(|| guard.output())?;
    ensure!(seen + unseen > ROUNDS / 2, "the names were swapped {seen} and {unseen} times only");
    let prepared = creation::prepare(&small(&region, mode))?;
    match stance {
        GuardMode::Enforce => {
            guard.denies(&prepared)?;
            guard.judged_only(&["denied"])
        }
        GuardMode::Audit => {
            guard.passes(&prepared)?;
            guard.judged_only(&["would_deny"])
        }
    }
}

#[test]
fn of_fsdax_under_enforce() -> Result<()> {
    swapped_names_pass(Mode::Fsdax, GuardMode::Enforce)
}

#[test]
fn of_devdax_in_audit() -> Result<()> {
    swapped_names_pass(Mode::Devdax, GuardMode::Audit)
}
