//! The soak: random actions on namespaces, libnvdimm and the agent, for any duration, compared with a [`model`]. The
//! seed repeats it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::choice::Chooser;
use self::host::Host;
use crate::boot_config::Soak;
use crate::report::Report;
use crate::{events, report};

pub mod choice;
pub mod expected;
pub mod host;
pub mod life;
pub mod model;

/// After so many acts all events must have been reported.
const COMPARE_INTERVAL: usize = 12;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);
const MAX_SHOWN: usize = 15;

pub fn run(config: Soak) -> Result<()> {
    let mut soak = Course { done: BTreeMap::new(), last: Vec::new(), acts: 0, begun: Instant::now() };
    log(&format!("seed {}, {} s", config.seed, config.seconds));
    let mut host = Host::fresh()?;
    let outcome = soak.run(&mut host, config);
    let last =
        soak.last.iter().skip(soak.last.len().saturating_sub(MAX_SHOWN)).cloned().collect::<Vec<_>>().join("\n    ");
    outcome.with_context(|| {
        format!("seed {}, act {} (`cargo xtask soak --seed {0}`), the last ones:\n    {last}", config.seed, soak.acts)
    })
}

struct Course {
    done: BTreeMap<&'static str, usize>,
    last: Vec<String>,
    acts: usize,
    begun: Instant,
}

impl Course {
    fn run(&mut self, host: &mut Host, config: Soak) -> Result<()> {
        let mut chooser = Chooser::new(config.seed);
        let (mut told, mut checked_at) = (Instant::now(), 50);
        while self.begun.elapsed() < Duration::from_secs(config.seconds) {
            let act = chooser.next(&host.model);
            self.last.push(format!("{:?}: {act:?}", self.begun.elapsed()));
            if host.act(&act)? {
                *self.done.entry(act.kind()).or_default() += 1;
            }
            self.acts += 1;
            if self.acts.is_multiple_of(COMPARE_INTERVAL) {
                host.wait_for_events()?;
            }
            // Less and less often, since all of the event store is read each time.
            if self.acts >= checked_at && host.life.is_some() {
                host.wait_for_events()?;
                event_store_says_what_was_done(host)?;
                checked_at = self.acts * 2;
            }
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                self.print_progress(host);
            }
        }
        host.wait_for_events()?;
        self.print_progress(host);
        host.end()?;
        let events = event_store_says_what_was_done(host)?;
        log(&format!("all that was done is in the event store, and nothing else: {events} events"));
        Ok(())
    }

    fn print_progress(&self, host: &Host) {
        let done: Vec<String> = self.done.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let size = host.life.as_ref().and_then(life::Life::words).unwrap_or_default();
        let (seconds, told) = (self.begun.elapsed().as_secs(), host.model.streams.recorded());
        log(&format!("{seconds} s: {} acts ({}), {told} events compared; {size}", self.acts, done.join(", ")));
    }
}

/// Returns the number of events.
fn event_store_says_what_was_done(host: &Host) -> Result<usize> {
    let written = events::written(&[])?;
    events::numbered(&written)?;
    let complaint = host.model.streams.compare(&written);
    ensure!(
        complaint.is_none(),
        "the event store does not agree with what was done:\n{}",
        complaint.unwrap_or_default()
    );
    Ok(written.len())
}

fn log(line: &str) {
    report::print(&Report::Output { line: format!("soak: {line}") });
}
