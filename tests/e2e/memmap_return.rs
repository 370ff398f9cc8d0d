//! Memmaps in DRAM that the kernel does not return when their device is disabled: the agent reports each, with the bytes that the host
//! is short of afterwards, and nothing on kernels that return them.

use std::fs;
use std::hint;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec, PreparedNamespace};
use guest::kernel_lines::loses_memmap;
use guest::regions::Regions;
use guest::{GIB, KIB, MIB, command, free_memory, namespace, pfnwatch, regions};
use serde_json::Value;

/// What is lost of each piece of 2 MiB, which holds the struct pages of 128 MiB: all but one page.
pub(crate) const PIECE: u64 = 2 * MIB - 4 * KIB;
/// From the disable to the event's line.
const PROMPT: Duration = Duration::from_secs(2);
/// The agent compares free memory two seconds after the last change, and before it as well.
const MEASURED: Duration = Duration::from_secs(4);
const VERDICT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn loses() -> Result<bool> {
    Ok(loses_memmap(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()))
}

fn memmap_return() -> Result<Value> {
    let status = pfnwatch::report(0, &["status"])?;
    status.get("memmap_return").cloned().with_context(|| format!("no memmap_return: {status:#}"))
}

/// An agent that has read the kernel's code.
pub(crate) fn agent() -> Result<Agent> {
    let agent = Agent::start(&[])?;
    let verdict = if loses()? { "not_returned" } else { "returned" };
    let end = Instant::now() + VERDICT_TIMEOUT;
    while !has_text(&memmap_return()?, "verdict", verdict) {
        ensure!(Instant::now() < end, "{verdict} is right: {:#}", memmap_return()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(agent)
}

pub(crate) fn lines(agent: &mut Agent) -> Vec<Value> {
    agent.events(|event| has_text(event, "event", "memmap_not_returned"))
}

fn number(json: &Value, key: &str) -> Result<u64> {
    json.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in {json:#}"))
}

fn spec(region: &str, mode: Mode, map: Map, align_bytes: u64) -> NamespaceSpec {
    NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(region, mode, GIB) }
}

/// Disables a namespace, whose event must report so many lost pieces of 2 MiB, within two seconds; 0 for no event.
fn disable(agent: &mut Agent, name: &str, uuid: &str, pieces: u64) -> Result<()> {
    let before = lines(agent).len();
    namespace::disable(name)?;
    let end = Instant::now() + PROMPT;
    while lines(agent).len() == before && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    let found = lines(agent).split_off(before);
    if pieces == 0 || !loses()? {
        ensure!(found.is_empty(), "nothing of {name} is lost: {found:#?}");
        return Ok(());
    }
    let [event] = found.as_slice() else { anyhow::bail!("one event of {name}, and not {found:#?}") };
    ensure!(has_text(event, "namespace", name), "{event:#}");
    ensure!(uuid.is_empty() || has_text(event, "namespace_uuid", uuid), "{uuid}: {event:#}");
    ensure!(number(event, "lost_bytes")? == pieces * PIECE, "{pieces} pieces: {event:#}");
    let parts = number(event, "lost_bytes")? + number(event, "returned_bytes")?;
    ensure!(number(event, "removed_bytes")? == parts && event["at_most"] == false, "{event:#}");
    ensure!(event.pointer("/by/pid").and_then(Value::as_u64).is_some(), "{event:#}");
    eprintln!("{event}");
    Ok(())
}

#[test]
fn each_kind_of_memmap_that_is_removed_is_reported_or_not() -> Result<()> {
    let Regions { first, second, legacy } = regions::fresh()?;
    let mut agent = agent()?;
    for (wanted, pieces) in [
        (spec(&first, Mode::Fsdax, Map::Mem, 2 * MIB), 8),
        (spec(&first, Mode::Devdax, Map::Mem, 4 * KIB), 8),
        // Deduplicated, and on the media: there are no pieces of 2 MiB in DRAM.
        (spec(&first, Mode::Devdax, Map::Mem, 2 * MIB), 0),
        (spec(&first, Mode::Fsdax, Map::Dev, 2 * MIB), 0),
        // The second region begins at an odd multiple of 2 MiB: of nine sections two are mapped in part, by single pages.
        (spec(&second, Mode::Fsdax, Map::Mem, 2 * MIB), 7),
    ] {
        let PreparedNamespace { namespace, namespace_uuid, .. } = creation::create(&wanted)?;
        disable(&mut agent, &namespace, &namespace_uuid, pieces).with_context(|| format!("{wanted:?}"))?;
        namespace::destroy(&namespace)?;
    }
    // Mapped whole, and there before the agent: 512 MiB.
    let namespaces = regions::namespaces(&legacy)?;
    let whole = namespaces.first().context("the e820 range has no namespace")?;
    disable(&mut agent, whole, "", 4)?;
    namespace::enable(whole)?;
    Ok(())
}

/// On a kernel whose release alone would be suspected, too.
#[test]
fn a_prediction_goes_by_the_kernels_code() -> Result<()> {
    let text = command::run("/bin/pfnwatch", &["predict", "--size", "1GiB", "--map", "mem"])?;
    ensure!(text.contains("(this kernel loses that DRAM at each disable") == loses()?, "{text}");
    ensure!(!text.contains("suspected"), "{text}");
    Ok(())
}

#[test]
fn sum_of_the_losses_is_what_the_host_is_short_of() -> Result<()> {
    const CYCLES: usize = 8;
    let regions = regions::fresh()?;
    let made = creation::create(&spec(&regions.first, Mode::Fsdax, Map::Mem, 2 * MIB))?;
    namespace::disable(&made.namespace)?;
    let mut agent = agent()?;
    // What earlier tests of this boot have lost.
    let known = total(&memmap_return()?)?;
    let before = free_memory::stable_bytes()?;
    for _ in 0..CYCLES {
        namespace::enable(&made.namespace)?;
        namespace::disable(&made.namespace)?;
    }
    let short = before.saturating_sub(free_memory::stable_bytes()?);
    let lost = lines(&mut agent).iter().map(|event| number(event, "lost_bytes")).sum::<Result<u64>>()?;
    let expected = if loses()? { 8 * PIECE * CYCLES as u64 } else { 0 };
    ensure!(lost == expected, "{expected} is lost, and {lost} reported");
    let tolerance = 8 * PIECE * CYCLES as u64 / 100;
    ensure!(short.abs_diff(lost) <= tolerance, "{lost} is reported, and {short} less are free");
    eprintln!("{lost} bytes reported, {short} less are free");
    let status = memmap_return()?;
    ensure!(total(&status)? == known + lost, "{known} and {lost}: {status:#}");
    agent.stop()?;
    // The next agent goes on from the event store.
    let _next = self::agent()?;
    let next = memmap_return()?;
    ensure!(total(&next)? == known + lost, "{status:#} {next:#}");
    Ok(())
}

fn total(memmap_return: &Value) -> Result<u64> {
    let sums = memmap_return.get("lost_bytes").and_then(Value::as_object).context("no lost_bytes")?;
    Ok(sums.values().filter_map(Value::as_u64).sum())
}

/// Disables a namespace that was enabled for a while, and returns the evidence after as long.
fn evidence_after_disable(agent: &mut Agent, made: &PreparedNamespace) -> Result<Value> {
    namespace::enable(&made.namespace)?;
    thread::sleep(MEASURED);
    disable(agent, &made.namespace, &made.namespace_uuid, 8)?;
    thread::sleep(MEASURED);
    memmap_return()?.get("evidence").cloned().context("no evidence")
}

#[test]
fn free_memory_confirms_a_loss_only_while_nothing_else_moves() -> Result<()> {
    let regions = regions::fresh()?;
    let made = creation::create(&spec(&regions.first, Mode::Fsdax, Map::Mem, 2 * MIB))?;
    namespace::disable(&made.namespace)?;
    let mut agent = agent()?;
    let load = Load::start();
    let beside = evidence_after_disable(&mut agent, &made)?;
    ensure!(beside == "code", "{beside} beside a process that allocates all the time");
    drop(load);
    if loses()? {
        let alone = evidence_after_disable(&mut agent, &made)?;
        ensure!(alone == "observed", "{alone} while nothing else moves{}", agent.output());
    }
    Ok(())
}

/// Takes more and more memory, and gives it back, until it is dropped: 2 MiB each 100 ms, 128 MiB at the most.
struct Load(Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>);

impl Load {
    fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let mut held = Vec::new();
            while stopped.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                if held.len() >= 64 {
                    held.clear();
                }
                held.push(hint::black_box(vec![1_u8; 2 << 20]));
            }
        };
        Self(Some((stop, thread::spawn(work))))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
