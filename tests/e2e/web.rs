//! The agent's web server: its output compared with sysfs, and hostile clients.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::{self, Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::policy::{self, GuardMode, Policy};
use guest::{MIB, command, modules, pfnwatch, regions, sysfs, wait, web};
use nix::sys::signal::Signal;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The limit of the agent's growth, whatever clients did: its heap grows by pages that it then reuses.
const MAX_GROWTH: u64 = 2 * MIB;

fn make(region: &str, mode: Mode, map: Map) -> Result<PreparedNamespace> {
    creation::create(&NamespaceSpec { map, ..NamespaceSpec::new(region, mode, 160 * MIB) })
}

/// The bytes of one namespace, in the metrics and in sysfs.
fn numbers_are_those_of_sysfs(metrics: &str, made: &PreparedNamespace) -> Result<()> {
    let bytes = |what: &str| {
        let name = format!("pfnwatch_namespace_{what}_bytes");
        web::value(metrics, &name, &[("namespace", &made.namespace)])
    };
    let number = |device: &str, attribute| sysfs::number(device, attribute);
    assert_eq!(bytes("size")?, number(&made.namespace, "size")?);
    assert_eq!(bytes("usable")?, number(&made.holder, "size")?);
    let reservation = number(&made.holder, "resource")? - number(&made.namespace, "resource")?;
    assert_eq!(bytes("reservation")?, reservation);
    assert_eq!(bytes("excess")?, reservation - bytes("ideal")?);
    Ok(())
}

fn of_namespaces(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("pfnwatch_namespace_") || line.starts_with("pfnwatch_host_")).collect()
}

#[test]
fn metrics_are_what_sysfs_and_a_scan_say() -> Result<()> {
    regions::fresh()?;
    modules::unload_stack()?;
    let mut agent = Agent::start(&[])?;
    let idle = wait::until("the web server", TIMEOUT, || web::get("/readyz").ok())?;
    ensure!(idle.status == 200 && idle.body.contains("idle: libnvdimm is not loaded"), "{idle:?}");
    assert_eq!(web::value(&web::metrics()?, "pfnwatch_observing", &[])?, 0);

    modules::load_stack()?;
    let second = regions::find()?.second;
    let observing = || web::get("/readyz").ok().filter(|reply| reply.body.contains("the programs are attached"));
    wait::until("an agent that observes", TIMEOUT, observing)?;
    let lean = make(&second, Mode::Fsdax, Map::Dev)?;
    let in_dram = make(&second, Mode::Devdax, Map::Mem)?;
    for made in [&lean, &in_dram] {
        agent.set_up(&made.namespace_uuid, "made")?;
    }
    // It repeats an answer for a second.
    std::thread::sleep(Duration::from_millis(1200));
    let metrics = web::metrics()?;
    for made in [&lean, &in_dram] {
        numbers_are_those_of_sysfs(&metrics, made)?;
    }
    let scan = command::run(agent::PROGRAM, &["scan", "--format", "prom"])?;
    ensure!(of_namespaces(&metrics) == of_namespaces(&scan), "a scan differs:\n{scan}\n{metrics}");
    assert_eq!(web::value(&metrics, "pfnwatch_events_total", &[("event", "set_up")])?, 2);
    assert_eq!(web::value(&metrics, "pfnwatch_records_missed_total", &[("reason", "ring_full")])?, 0);
    assert_eq!(web::value(&metrics, "pfnwatch_kernel_max_struct_page_size_bytes", &[])?, 64);
    assert_eq!(web::value(&metrics, "pfnwatch_program_attached", &[("program", "guard")])?, 1);
    ensure!(!metrics.contains("pfnwatch_program_runs"), "nobody has the kernel count runs");
    let page = web::get("/")?;
    ensure!(page.status == 200 && page.body.contains(&lean.namespace), "{page:?}");

    let status = pfnwatch::report(0, &["status"])?;
    assert_eq!(status.pointer("/web/address").and_then(Value::as_str), Some(web::ADDRESS), "{status:#}");
    ensure!(anonymous_bytes()? > 0 && status["last_event"].is_string(), "{status:#}");
    counted_runs()
}

/// Run counts are exported once the host has the kernel count.
fn counted_runs() -> Result<()> {
    let switch = "/proc/sys/kernel/bpf_stats_enabled";
    fs::write(switch, "1").context(switch)?;
    let ran = || web::value(&web::metrics().ok()?, "pfnwatch_program_runs_total", &[("program", "guard")]).ok();
    let counted = wait::until("runs of the guard", TIMEOUT, || ran().filter(|count| *count > 0));
    fs::write(switch, "0").context(switch)?;
    counted.map(drop)
}

fn anonymous_bytes() -> Result<u64> {
    let status = pfnwatch::report(0, &["status"])?;
    let bytes = status.pointer("/agent/memory/anonymous_bytes").and_then(Value::as_u64);
    bytes.with_context(|| format!("no memory: {status:#}"))
}

fn crowd(count: usize, request: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        if let Ok(mut stream) = web::connect() {
            let _ = stream.write_all(request);
            held.push(stream);
        }
    }
    held
}

#[test]
fn hostile_clients_leave_the_agent_observing_and_small() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    wait::until("the web server", TIMEOUT, || web::get("/metrics").ok())?;
    let before = anonymous_bytes()?;

    let slow = crowd(100, b"GET / HTT");
    // Even now: what happens in the kernel is seen, and root is answered.
    let made = make(&regions.first, Mode::Fsdax, Map::Dev)?;
    agent.set_up(&made.namespace_uuid, "made").context("a creation among slow clients")?;
    let during = anonymous_bytes()?;
    drop(slow);
    for _ in 0..5 {
        drop(crowd(400, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
    }
    let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 256 << 10]].concat();
    let rubbish = [b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".as_slice(), &[0xff; 4096]].concat();
    for request in [endless, rubbish, vec![0; 100_000]] {
        for stream in crowd(20, &request) {
            let said = web::rest(stream);
            ensure!(said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 503"), "{said}");
        }
    }
    let healthy = || web::get("/healthz").ok().filter(|reply| reply.status == 200);
    wait::until("a healthy agent", TIMEOUT, healthy)?;
    let made = make(&regions.first, Mode::Devdax, Map::Dev)?;
    agent.set_up(&made.namespace_uuid, "made").context("a creation after all that")?;
    ensure!(during <= before + MAX_GROWTH, "{before} bytes before, {during} during");
    // Connections that nobody ended may still be there, each with a reply, until their time is over.
    let after = || anonymous_bytes().ok().filter(|after| *after <= before + MAX_GROWTH);
    let settled = wait::until("an agent that has grown no more", TIMEOUT, after);
    settled.with_context(|| format!("{before} bytes before, {:?} after", anonymous_bytes()))?;
    let tally = agent.stop_and_count()?;
    assert_eq!((tally["decode_errors"].as_u64(), tally["lost"].as_u64()), (Some(0), Some(0)), "{tally}");
    Ok(())
}

fn configured(agent: &Guard, web: &str) -> Result<()> {
    policy::write(&format!("[web]\n{web}\n"))?;
    agent.signal(Signal::SIGHUP)
}

/// Waits until the server is healthy there, and reports so itself.
fn listens_on(address: &str) -> Result<()> {
    let healthy = || web::ask(address, "/healthz").ok().filter(|reply| reply.status == 200);
    wait::until(&format!("a web server on {address}"), TIMEOUT, healthy)?;
    let status = guard::status()?;
    ensure!(status.pointer("/web/address") == Some(&address.into()), "{status:#}");
    Ok(())
}

#[test]
fn a_port_that_is_taken_and_a_server_that_moves() -> Result<()> {
    const ELSEWHERE: &str = "127.0.0.1:9465";
    let regions = regions::fresh()?;
    let taken = TcpListener::bind(web::ADDRESS).context("the usual port is not free")?;
    let mut agent = Guard::start(&Policy::default_audit(GuardMode::Audit))?;
    // musl and glibc have other words for the number.
    const IN_USE: &str = "(os error 98)";
    let complaint = format!("the web server cannot listen on {}: Address", web::ADDRESS);
    wait::until("a word about the port", TIMEOUT, || (agent.log_lines(&complaint) == 1).then_some(()))
        .with_context(|| agent.output())?;
    let problem = guard::status()?.pointer("/web/problem").and_then(Value::as_str).unwrap_or_default().to_owned();
    ensure!(problem.contains(IN_USE), "the status does not report it: {problem}");
    let made = make(&regions.first, Mode::Fsdax, Map::Dev)?;
    agent.set_up(&made.namespace_uuid, "made").context("a creation without a web server")?;

    configured(&agent, &format!("listen = \"{ELSEWHERE}\""))?;
    listens_on(ELSEWHERE).with_context(|| agent.output())?;
    // All of a configuration, or nothing: the server stays where it is, and nobody reads there what the file holds.
    configured(&agent, "hosts = [\"db1.example.com\"]\nlisten = \"user:secret@host\"")?;
    let refused = |event: &Value| has_text(event, "event", "policy_refused").then(|| event.to_string());
    let refused = agent.event("a refusal", TIMEOUT, refused)?;
    ensure!(refused.contains("line 3, column") && !refused.contains("secret"), "{refused}");
    listens_on(ELSEWHERE)?;
    wait::until("a page that reports it", TIMEOUT, || {
        let page = web::ask(ELSEWHERE, "/").ok()?.body;
        (page.contains("was rejected") && page.contains("line 3, column") && !page.contains("secret")).then_some(())
    })?;
    configured(&agent, "enabled = false")?;
    wait::until("no server", TIMEOUT, || web::ask(ELSEWHERE, "/healthz").is_err().then_some(()))?;
    drop(taken);
    configured(&agent, "enabled = true")?;
    listens_on(web::ADDRESS)?;
    strangers_are_refused(&mut agent)
}

/// A control client that is not root cannot reach the agent; if somebody has opened the way to the socket, the agent
/// refuses it, and reports so once.
fn strangers_are_refused(agent: &mut Guard) -> Result<()> {
    let enforce =
        || command::attempt_as_nobody(agent::PROGRAM, &["mode", "enforce", "--control-socket", guard::SOCKET]);
    let kept_out = enforce()?;
    ensure!(
        kept_out.code == Some(1) && kept_out.stderr.contains("only root and members of its group may use the agent at"),
        "{kept_out:?}"
    );
    let socket = Path::new(guard::SOCKET);
    for (path, mode) in [(socket.parent().context("no folder")?, 0o755), (socket, 0o666)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| path.display().to_string())?;
    }
    for _ in 0..3 {
        let refused = enforce()?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("only root may use the agent"), "{refused:?}");
    }
    let line = format!("user {} was refused at the control socket", command::NOBODY);
    ensure!(agent.log_lines(&line) == 1, "it is logged once: {}", agent.output());
    let status = guard::status()?;
    ensure!(status.pointer("/mode/mode") == Some(&"audit".into()), "{status:#}");
    agent.stop_and_count().map(drop)
}
