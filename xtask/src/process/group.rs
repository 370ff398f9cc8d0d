//! Process groups: a command is ended with everything that it started, also when xtask itself is interrupted.

use std::process::{Child, exit};
use std::sync::Mutex;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::locked;

/// The groups of the commands that run now.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// The group of a child that was started as its leader; forgotten when dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group of this child.
    pub(crate) fn of(child: &Child) -> Self {
        let leader = i32::try_from(child.id()).ok().map(Pid::from_raw);
        locked(&RUNNING).extend(leader);
        Self(leader)
    }

    /// Asks the group to end. An xtask in it hands that on to its own children.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends the group at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // The group may have ended by itself: there is nothing more to do then.
            let _ = killpg(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        locked(&RUNNING).retain(|leader| Some(*leader) != self.0);
    }
}

/// Asks every command that runs now to end.
pub(crate) fn end_all() {
    signal_all(Signal::SIGTERM);
}

/// Ends every command that still runs.
pub(crate) fn kill_all() {
    signal_all(Signal::SIGKILL);
}

fn signal_all(signal: Signal) {
    for leader in locked(&RUNNING).iter() {
        // As above.
        let _ = killpg(*leader, signal);
    }
}

/// Hands an interrupt (Ctrl-C, SIGTERM, a closed terminal) on to the commands that run, and ends.
pub(crate) fn end_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        end_all();
        exit(130);
    })
    .context("cannot listen for interrupts")
}
