//! A bind that takes long: the agent does not wait for it.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, PROGRAM, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::policy::{self, GuardMode, Policy};
use guest::{guard, pfnwatch, regions, web};
use nix::libc;
use nix::sys::signal::Signal;
use serde_json::Value;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Under emulation the kernel initializes the memmap of 256 GiB in some 27 s.
const MAX_ANSWER: Duration = Duration::from_secs(8);
const WATCHDOG: Duration = Duration::from_secs(10);
const NOTIFY: &str = "/run/busy-notify";
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

fn in_time<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let result = work().with_context(|| what.to_owned())?;
    ensure!(began.elapsed() < MAX_ANSWER, "{what} took {:?}", began.elapsed());
    Ok(result)
}

/// Requires that the agent notifies its watchdog in time, until it ends.
fn follow_watchdog(socket: UnixDatagram) -> thread::JoinHandle<Result<usize>> {
    thread::spawn(move || {
        let (mut count, mut message) = (0, [0; 4096]);
        loop {
            let length = socket.recv(&mut message).context("the watchdog was not notified in time")?;
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
            count += usize::from(text.contains("WATCHDOG=1"));
            if text.contains("STOPPING=1") {
                return Ok(count);
            }
        }
    })
}

/// A scan and the end of its process.
fn scan_in_time() -> Result<Value> {
    let scan = || Ok(Command::new(PROGRAM).args(["scan", "--format", "json"]).stderr(Stdio::inherit()).output()?);
    let scan = in_time("a scan and its end", scan)?;
    ensure!(scan.status.success(), "the scan ended with {}", scan.status);
    serde_json::from_slice(&scan.stdout).context("no report")
}

#[test]
fn nothing_waits_while_256_gib_are_created() -> Result<()> {
    let region = regions::fresh_one()?;
    let spec = |mode, size_bytes| NamespaceSpec {
        region: region.clone(),
        size_bytes,
        mode,
        map: Map::Dev,
        align_bytes: 2 * MIB,
    };
    let prepare = |spec: &NamespaceSpec| creation::claim(spec, &creation::prepare_empty(spec)?, &creation::new_uuid()?);
    let huge = prepare(&spec(Mode::Fsdax, 256 * GIB))?;
    Policy::strict(GuardMode::Enforce).exempt_namespace(&huge.namespace_uuid).write()?;

    let socket = UnixDatagram::bind(NOTIFY)?;
    socket.set_read_timeout(Some(WATCHDOG))?;
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--format", "json", "--config", policy::PATH, "--control-socket", guard::SOCKET]);
    command.env("NOTIFY_SOCKET", NOTIFY).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    let mut agent = Agent::spawn_by(&mut command)?;
    let watchdog = follow_watchdog(socket);
    let armed = |event: &Value| has_text(event, "event", "guard_state") && event["armed"] == true;
    agent.event("an armed guard", EVENT_TIMEOUT, |event| armed(event).then_some(()))?;

    // The guard judges what it has seen being made.
    let small = creation::prepare(&spec(Mode::Devdax, 512 * MIB))?;

    let bind = thread::spawn({
        let huge = huge.clone();
        move || huge.bind()
    });
    let mut rounds = 0;
    while !bind.is_finished() {
        // The agent may answer with what it read a second ago.
        thread::sleep(Duration::from_secs(1));
        in_time("/metrics", web::metrics)?;
        in_time("pfnwatch status", guard::status)?;
        let page = in_time("the page", || web::get("/"))?.body;
        if bind.is_finished() {
            break;
        }
        ensure!(page.contains(&format!("{} is being bound since", huge.holder)), "{page}");
        if rounds == 0 {
            let report = scan_in_time()?;
            let row = pfnwatch::row(&report, &huge.namespace)?.to_string();
            ensure!(row.contains(&format!("{} is being bound since", huge.holder)), "{row}");
            let denied = in_time("a denial", || Ok(small.bind()))?;
            let code = denied.map_err(|error| error.raw_os_error());
            ensure!(code == Err(Some(libc::ENOMEM)), "{code:?}");
            in_time("the event of the denial", || {
                agent.event("a denial", MAX_ANSWER, |event| has_text(event, "event", "denied").then_some(()))
            })?;
            // Both look for regions that are not known.
            in_time("an exemption", || {
                let refused = guard::pfnwatch(&["allow", "--region", "0x1000", "--once", "--reason", "a test"])?;
                ensure!(refused.code != Some(0), "there is no such region: {refused:?}");
                guard::succeed(&["allow", "--region", &region, "--once", "--reason", "a test"])
            })?;
            agent.signal(Signal::SIGHUP)?;
            in_time("a reload", || {
                agent.collect("the policy again", 2, MAX_ANSWER, |event| has_text(event, "event", "policy_loaded"))
            })?;
        }
        rounds += 1;
    }
    ensure!(rounds >= 2, "the bind ended too early to show anything");
    bind.join().map_err(|_| anyhow::anyhow!("the bind panicked"))?.context("the creation of 256 GiB")?;
    agent.set_up(&huge.namespace_uuid, "made")?;
    let scan = pfnwatch::scan(0)?;
    let row = pfnwatch::row(&scan, &huge.namespace)?;
    ensure!(row["usable_bytes"].is_u64(), "{row}");
    agent.stop()?;
    let notified = watchdog.join().map_err(|_| anyhow::anyhow!("the watchdog's thread panicked"))??;
    ensure!(notified >= 2, "the watchdog was notified {notified} times");
    Ok(())
}
