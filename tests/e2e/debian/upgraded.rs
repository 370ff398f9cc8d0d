//! An upgrade and a roll-back under a held guard, while somebody tries a wasteful creation again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::debian::{self, NEWER, PACKAGE};
use guest::{creation, namespace, wait};
use nix::libc;

use super::{ENFORCE_AND_HOLD, oversize};
use crate::guard::case::{again, nothing_is_written, prepare_blank};

const LIMIT: Duration = Duration::from_secs(90);
/// Between two tries. An exchange takes seconds; a flood of denials would keep the new agent from its own start.
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn guard_holds_over_an_upgrade_and_a_roll_back() -> Result<()> {
    let region = debian::fresh()?;
    debian::install(PACKAGE)?;
    let older = debian::version()?;
    // What is there may always be enabled, whoever guards.
    let existing = creation::create(&oversize(&region))?;
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::systemctl(&["restart", debian::UNIT])?;
    debian::armed()?;
    let prepared = prepare_blank(&oversize(&region))?;
    let (trying, tries) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| -> Result<()> {
        let rival = scope.spawn(|| -> Result<()> {
            while trying.load(Ordering::Acquire) {
                let code = prepared.bind().map_err(|error| error.raw_os_error());
                ensure!(code == Err(Some(libc::ENOMEM)), "try {tries:?} was not denied: {code:?}");
                tries.fetch_add(1, Ordering::Release);
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        let exchanged = exchange(&older, &tries);
        trying.store(false, Ordering::Release);
        rival.join().unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        exchanged
    })?;
    nothing_is_written(&prepared.namespace)?;
    namespace::disable(&existing.namespace)?;
    namespace::enable(&existing.namespace)?;
    // The guard that is in charge now is no leftover: it does what its agent is told.
    guest::guard::succeed(&["mode", "audit"])?;
    again(&oversize(&region), &prepared.namespace)?.bind().context("audit denies nothing")
}

/// Up, and down again; each time another agent guards at the end.
fn exchange(older: &str, tries: &AtomicUsize) -> Result<()> {
    let mut before = debian::active()?;
    for package in [NEWER, PACKAGE] {
        debian::install(package)?;
        let now = debian::active()?;
        ensure!(now != before, "the agent was not exchanged: {}", debian::status());
        before = now;
        let version = debian::version()?;
        ensure!((version == older) == (package == PACKAGE), "{version} is installed, {older} was");
        // Its socket would have to wait while denials are told: what it says goes to journald.
        for event in ["guard_taken_over", "denied"] {
            let matches = [format!("PFNWATCH_EVENT={event}"), format!("_PID={now}"), "--lines=1".to_owned()];
            let said = || debian::journal(&matches.each_ref().map(String::as_str)).ok().filter(|said| !said.is_empty());
            wait::until(&format!("{event} by {now}"), LIMIT, said).with_context(debian::status)?;
        }
        let sofar = tries.load(Ordering::Acquire);
        wait::until("further tries", LIMIT, || (tries.load(Ordering::Acquire) > sofar + 3).then_some(()))?;
    }
    Ok(())
}
