//! The guest's side of `cargo xtask bench guard`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::Port;
use crate::bench::ground::Ground;
use crate::bench::tracer::{Script, Tracer};
use crate::bench::{Measurement, Round, Setting, Work};
use crate::bpf::{self, Counting, Empty, Program, Runs};
use crate::guard::{self, Guard};
use crate::policy::{GuardMode, Policy, SMALL_STRUCT_PAGE, STRUCT_PAGE};
use crate::report::Report;
use crate::{command, modules, sysfs};

const REGIONS: usize = 1;
const GUARD: Program = Program::Named("guard");
const ROUNDS: usize = 9;
/// Before a round: the kernel has freed by then what the one before left.
const SETTLE: Duration = Duration::from_millis(500);
const TIMES: [(Work, u16); 4] =
    [(Work::Cgroups, 100), (Work::Devices, 10), (Work::OtherBind, 50), (Work::Creation, 50)];
const STORMS: [Work; 2] = [Work::Cgroups, Work::Devices];
const NO_JUDGEMENT: [Work; 3] = [Work::Cgroups, Work::Devices, Work::OtherBind];
const ALL: [Work; 4] = [Work::Cgroups, Work::Devices, Work::OtherBind, Work::Creation];

pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    modules::load_regions(REGIONS)?;
    for arguments in [["disable-region", "all"].as_slice(), &["init-labels", "-f", "all"], &["enable-region", "all"]] {
        command::run("/bin/ndctl", arguments)?;
    }
    let region = sysfs::devices("region").into_iter().next().context("no region")?;
    let ground = Ground::prepare(&region)?;
    port.send(&Report::Ready { release, tests: 1 });
    // Before the first measurement the kernel has its caches filled and its memory at hand.
    TIMES.iter().try_for_each(|(work, times)| ground.work(*work, *times))?;
    let mut bench = Bench { ground, port };
    bench.measure(Setting::None, None, &STORMS)?;
    let attached = Empty::attach(Path::new(bpf::EMPTY_OBJECT))?;
    bench.measure(Setting::Empty, Some(bpf::EMPTY_PROGRAM), &ALL)?;
    drop(attached);
    bench.traced(Setting::Bpftrace, Script::Look, &NO_JUDGEMENT)?;
    let sound = Script::Judgement { reference_struct_page: STRUCT_PAGE };
    let told = bench.traced(Setting::BpftraceJudges, sound, &[Work::Creation])?;
    ensure!(told.is_empty(), "nothing is oversize, and bpftrace reports {:?}", told.first());
    let strict = Script::Judgement { reference_struct_page: SMALL_STRUCT_PAGE };
    let told = bench.traced(Setting::BpftraceJudgesOversize, strict, &[Work::Creation])?;
    bench.guard(Setting::Audit, &Policy::default_audit(GuardMode::Audit), "judged", &ALL)?;
    let event =
        bench.guard(Setting::AuditOversize, &Policy::strict(GuardMode::Audit), "would_deny", &[Work::Creation])?;
    judged_the_same(&told, &event.context("the guard has reported no creation")?)?;
    bench.guard(Setting::EnforceOversize, &Policy::strict(GuardMode::Enforce), "denied", &ALL)?;
    // Again: a kernel that has worked for a while behaves a little differently.
    bench.measure(Setting::None, None, &STORMS)?;
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "bench guard".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
    Ok(())
}

fn judgements() -> Result<BTreeMap<String, u64>> {
    let counters = guard::status()?.get("counters").cloned().context("a status without counters")?;
    serde_json::from_value(counters).context("counters that are no numbers")
}

/// Different numbers mean different work.
fn judged_the_same(bpftrace: &[String], guard: &Value) -> Result<()> {
    let numbers = ["reservation_bytes", "ideal_bytes"].map(|key| format!(" {key}={} ", guard[key]));
    let differs = |line: &&String| numbers.iter().any(|number| !line.contains(number));
    ensure!(!bpftrace.is_empty(), "bpftrace has reported no creation");
    match bpftrace.iter().find(differs) {
        Some(line) => bail!("bpftrace reports {line}, and the guard {guard}"),
        None => Ok(()),
    }
}

struct Bench<'a> {
    ground: Ground,
    port: &'a mut Port,
}

impl Bench<'_> {
    /// The same with bpftrace; returns its lines about oversize reservations.
    fn traced(&mut self, setting: Setting, script: Script, works: &[Work]) -> Result<Vec<String>> {
        let tracer = Tracer::attach(script)?;
        self.measure(setting, Some(Program::WithId(tracer.program)), works)?;
        tracer.oversize()
    }

    /// The same with the guard of the real agent, whose counter of this name must grow with each creation: if it allows
    /// something unjudged, there is nothing to measure. Returns its last event of one.
    fn guard(&mut self, setting: Setting, policy: &Policy, counter: &str, works: &[Work]) -> Result<Option<Value>> {
        let mut guard = Guard::start(policy)?;
        self.ground.renew()?;
        let before = judgements()?;
        self.measure(setting, Some(GUARD), works)?;
        let after = judgements()?;
        let added = |name: &str| after.get(name).zip(before.get(name)).map_or(0, |(after, before)| after - before);
        let creations = TIMES.iter().filter(|(work, _)| *work == Work::Creation).map(|(_, times)| u64::from(*times));
        // Each round is done twice.
        let expected = creations.sum::<u64>() * ROUNDS as u64 * 2;
        ensure!(
            added(counter) == expected && added("unjudged") == 0,
            "{setting:?}: {expected} times {counter}: {before:?}, {after:?}"
        );
        let status = guard.stop()?;
        ensure!(status.success(), "the agent ended with {status}{}", guard.output());
        Ok(guard.judgements().pop())
    }

    /// Does each work in rounds, and reports what it cost; `program` is what is on the hook.
    fn measure(&mut self, setting: Setting, program: Option<Program>, works: &[Work]) -> Result<()> {
        for (work, times) in TIMES.into_iter().filter(|(work, _)| works.contains(work)) {
            let rounds = (0..ROUNDS).map(|_| self.round(work, times, program)).collect::<Result<_>>();
            let rounds = rounds.with_context(|| format!("{work:?} with {setting:?}"))?;
            self.port.send(&Report::Measured(Measurement { setting, work, times, rounds }));
        }
        Ok(())
    }

    fn round(&self, work: Work, times: u16, program: Option<Program>) -> Result<Round> {
        sleep(SETTLE);
        let start = thread_time()?;
        self.ground.work(work, times)?;
        let work_time = thread_time()?.saturating_sub(start);
        let runs = match program {
            Some(program) => self.counted(work, times, program)?,
            None => Runs { count: 0, time: Duration::ZERO },
        };
        Ok(Round {
            work_instructions: instructions(work_time),
            runs: runs.count,
            run_instructions: instructions(runs.time),
        })
    }

    fn counted(&self, work: Work, times: u16, program: Program) -> Result<Runs> {
        let before = Runs::of(program)?;
        let counting = Counting::start()?;
        self.ground.work(work, times)?;
        drop(counting);
        Ok(Runs::of(program)?.since(before))
    }
}

fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("no clock of the thread's")?.into())
}

/// Each instruction takes a nanosecond of the guest's clock.
fn instructions(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
