//! What goes wrong around the agent, made to go wrong: docs/faults.md lists all of it. Nothing is silent, and nothing stays in
//! the kernel.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, PROGRAM, has_text};
use guest::bpf::{self, Empty, HeldObjects};
use guest::command::attempt;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::guard::{self, Guard};
use guest::policy::{self, GuardMode, Policy};
use guest::{MIB, events, regions, wait};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

// The kernel takes its time to let go of programs where the host is busy.
const TIMEOUT: Duration = Duration::from_secs(120);
const BTF: &str = "/sys/kernel/btf";

/// Runs the agent from a shell that first sets a limit; it must end by itself, print all of these words, and leave
/// nothing behind.
fn ends(first: &str, arguments: &str, codes: &[Option<i32>], words: &[&str]) -> Result<()> {
    let before = HeldObjects::look()?;
    let said = attempt("/bin/sh", &["-c", &format!("{first}; exec {PROGRAM} run --format json {arguments}")])?;
    let text = format!("{}{}", said.stdout, said.stderr);
    ensure!(
        codes.contains(&said.code),
        "{first}: it ended with {:?}, and not with one of {codes:?}: {text}",
        said.code
    );
    for word in words {
        ensure!(text.contains(word), "{first}: no {word:?}: {text}");
    }
    HeldObjects::until_nothing_beyond(&before, TIMEOUT).with_context(|| first.to_owned())
}

fn observes(agent: &mut Agent) -> Result<()> {
    let made = creation::create(&NamespaceSpec::new(&regions::find()?.first, Mode::Devdax, 16 * MIB))?;
    agent.set_up(&made.namespace_uuid, "made").map(drop)
}

fn tmpfs(place: &str, flags: MsFlags) -> Result<()> {
    fs::create_dir_all(place).or_else(|error| if fs::metadata(place).is_ok() { Ok(()) } else { Err(error) })?;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, None::<&str>).with_context(|| format!("no tmpfs on {place}"))
}

/// A disabled kprobe attaches without an error, and never fires.
#[test]
fn switched_off_probes_are_told_and_watched_for() -> Result<()> {
    const SWITCH: &str = "/sys/kernel/debug/kprobes/enabled";
    const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
    regions::fresh()?;
    let remedies = [(SWITCH, "echo 1 > /sys/kernel/debug/kprobes/enabled"), (FTRACE, "kernel.ftrace_enabled=1")];
    for (switch, remedy) in remedies {
        match fs::write(switch, "0") {
            // 7.3: "The ftrace_enabled file is deprecated and no longer disables ftrace".
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => continue,
            written => written.with_context(|| format!("cannot write {switch}"))?,
        }
        let ended = ends(":", "", &[Some(4)], &["cannot be observed", "never fires", remedy]);
        let doctor = attempt(PROGRAM, &["doctor"]);
        fs::write(switch, "1")?;
        ended?;
        let doctor = doctor?;
        ensure!(doctor.code == Some(4) && doctor.stdout.contains(remedy), "{doctor:?}");
    }
    let mut agent = Agent::start(&[])?;
    fs::write(SWITCH, "0")?;
    // It retries every 30 s, and at once on SIGHUP.
    agent.signal(Signal::SIGHUP)?;
    let blind = agent.event("that it is blind", TIMEOUT, |event| {
        has_text(event, "event", "blind").then(|| event["reason"].to_string())
    });
    fs::write(SWITCH, "1")?;
    ensure!(blind?.contains("switched off"), "{}", agent.output());
    agent.signal(Signal::SIGHUP)?;
    let ready = |event: &Value| has_text(event, "event", "ready");
    agent.collect("ready again", 2, TIMEOUT, ready)?;
    observes(&mut agent)
}

#[test]
fn types_that_cannot_be_read_are_named() -> Result<()> {
    regions::fresh()?;
    let vmlinux = fs::read(format!("{BTF}/vmlinux"))?;
    tmpfs(BTF, MsFlags::empty())?;
    let none = ends(":", "", &[Some(4)], &["vmlinux"]);
    let half = fs::write(format!("{BTF}/vmlinux"), vmlinux)
        .context("no room")
        .and_then(|()| ends(":", "", &[Some(4)], &["libnvdimm"]));
    umount(BTF)?;
    none.context("without vmlinux's")?;
    half.context("without libnvdimm's")
}

/// The verifier checks a program against its hook: here one without arguments, by types in which two hooks swapped
/// names. The others still observe.
#[test]
fn refused_program_is_told_in_the_verifiers_words() -> Result<()> {
    const NAMES: [&[u8]; 2] = [b"\0bpf_lsm_kernfs_init_security\0", b"\0bpf_lsm_secmark_refcount_inc\0"];
    regions::fresh()?;
    let mut types = fs::read(format!("{BTF}/vmlinux"))?;
    let places = NAMES.map(|name| types.windows(name.len()).position(|part| part == name));
    for (place, name) in places.into_iter().zip(NAMES.iter().rev()) {
        let place = place.context("vmlinux has no such hook")?;
        types.splice(place..place.saturating_add(name.len()), name.iter().copied());
    }
    let module = fs::read(format!("{BTF}/libnvdimm"))?;
    tmpfs(BTF, MsFlags::empty())?;
    let told = [("vmlinux", types), ("libnvdimm", module)]
        .into_iter()
        .try_for_each(|(name, types)| fs::write(format!("{BTF}/{name}"), types))
        .context("no room")
        .and_then(|()| without_a_guard(&["secmark_refcount_inc", "doesn't have"]));
    umount(BTF)?;
    told
}

fn without_a_guard(words: &[&str]) -> Result<()> {
    let mut agent = Agent::spawn(&[])?;
    let ready = |event: &Value| has_text(event, "event", "ready").then(|| event["programs"].clone());
    let programs = agent.event("ready", TIMEOUT, ready)?;
    let refused = programs.as_array().into_iter().flatten().find(|program| has_text(program, "program", "guard"));
    let reason = refused.context("no guard")?["reason"].to_string();
    ensure!(words.iter().all(|word| reason.contains(word)), "{programs}");
    observes(&mut agent)?;
    agent.stop_and_count().map(drop)
}

/// The kernel attaches a limited number of programs to one function (BPF_MAX_TRAMP_LINKS, include/linux/bpf.h). If
/// others occupy the guard's hook, the agent observes, and reports that enforcement is not effective.
#[test]
fn hook_that_is_taken_by_others_is_said() -> Result<()> {
    const MAX_ARGUMENTS: usize = 64;
    const TOO_MANY: &str = "Argument list too long";
    regions::fresh()?;
    let mut others = Vec::new();
    let refused = loop {
        match Empty::attach(Path::new(bpf::EMPTY_OBJECT)) {
            Ok(other) => others.push(other),
            Err(error) => break error,
        }
        ensure!(others.len() < MAX_ARGUMENTS, "the hook takes {MAX_ARGUMENTS} programs");
    };
    ensure!(format!("{refused:#}").contains("os error 7"), "{} programs, and then {refused:#}", others.len());
    without_a_guard(&[TOO_MANY])?;
    // This needs neither another kernel nor another command line: the agent stays, unless the configuration asks it to end.
    policy::write("[guard]\nmode = \"enforce\"\nrequire_effective = true\n")?;
    ends(":", &format!("--config {}", policy::PATH), &[Some(4)], &[TOO_MANY, "require_effective"])?;
    Policy::default_audit(GuardMode::Enforce).write()?;
    let mut agent = Agent::start(&["--config", policy::PATH, "--control-socket", guard::SOCKET])?;
    for arguments in [&["status"][..], &["mode", "enforce"]] {
        let said = guard::pfnwatch(arguments)?;
        let is_reported = said.stdout.contains("NOT EFFECTIVE") && said.stdout.contains(TOO_MANY);
        ensure!(said.code == Some(4) && is_reported, "{arguments:?}: {said:?}");
    }
    agent.stop_and_count().map(drop)
}

/// Limits of files, address space and memory that are too small for it, and invalid paths for its socket.
#[test]
fn limits_end_it_with_a_word_and_leave_nothing() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/faults";
    const PLACE: &str = "/run/read-only";
    regions::fresh()?;
    ends("ulimit -n 16", "", &[Some(1)], &["os error 24"])?;
    // It ends with the allocator's word, or with its own about what the kernel has refused.
    // The static program alone takes some 10 MB of addresses, and 20 MB suffice for it.
    ends("ulimit -v 12000", "", &[None, Some(1), Some(4)], &["memory"])?;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids").context("no such cgroups")?;
    fs::create_dir_all(GROUP)?;
    fs::write(format!("{GROUP}/memory.max"), "2M")?;
    ends(&format!("echo $$ >{GROUP}/cgroup.procs"), "", &[None], &[])?;
    // The kernel refuses what is asked for before anything has to die for it. It may pass, so that the agent tries again.
    fs::write(format!("{GROUP}/memory.max"), "16M")?;
    let short = format!("echo $$ >{GROUP}/cgroup.procs; exec {PROGRAM} run --format json --ring-size 16MiB");
    let mut agent = Agent::spawn_by(Command::new("/bin/sh").args(["-c", &short]))?;
    agent.event("that it is blind for want of memory", TIMEOUT, |event| {
        let text = event.to_string();
        let words = ["the eBPF maps cannot be made", "os error 12"];
        (has_text(event, "event", "blind") && words.iter().all(|word| text.contains(word))).then_some(())
    })?;
    fs::write(format!("{GROUP}/memory.max"), "128M")?;
    agent.ready()?;
    agent.stop_and_count()?;
    tmpfs(PLACE, MsFlags::MS_RDONLY)?;
    ends(":", &format!("--control-socket {PLACE}/a/control.sock"), &[Some(1)], &[PLACE, "Read-only file system"])?;
    umount(PLACE)?;
    fs::write("/run/taken", "somebody's")?;
    ends(":", "--control-socket /run/taken", &[Some(1)], &["/run/taken"])?;
    ensure!(fs::read_to_string("/run/taken")? == "somebody's", "it took a file for its own");

    // Locked memory is not what eBPF is charged to any more; threads are for haste alone; and this memory is enough.
    fs::write(format!("{GROUP}/memory.max"), "64M")?;
    fs::write(format!("{GROUP}/pids.max"), "1")?;
    let limited = format!("ulimit -l 0; echo $$ >{GROUP}/cgroup.procs; exec {PROGRAM} run --format json");
    let mut agent = Agent::spawn_by(Command::new("/bin/sh").args(["-c", &limited]))?;
    agent.ready()?;
    observes(&mut agent)?;
    agent.stop_and_count().map(drop)
}

/// Hardening against unprivileged users does not affect root.
#[test]
fn hardened_sysctls_are_no_hindrance() -> Result<()> {
    const SETTINGS: [(&str, &str); 4] = [
        ("kernel/perf_event_paranoid", "4"),
        ("kernel/unprivileged_bpf_disabled", "2"),
        ("kernel/kptr_restrict", "2"),
        ("net/core/bpf_jit_harden", "2"),
    ];
    let region = regions::fresh()?.first;
    let file = |name: &str| format!("/proc/sys/{name}");
    let before: Vec<_> = SETTINGS.iter().map(|(name, _)| fs::read_to_string(file(name))).collect();
    for (name, value) in SETTINGS {
        fs::write(file(name), value).with_context(|| format!("cannot set {name}"))?;
    }
    let guards = (|| {
        let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
        observes(&mut guard)?;
        let (mode, map) = (Mode::Fsdax, Map::Dev);
        let wanted = NamespaceSpec { map, ..NamespaceSpec::new(&region, mode, 512 * MIB) };
        guard.denies(&creation::prepare(&wanted)?)?;
        guard.judged_only(&["denied"])
    })();
    for ((name, _), before) in SETTINGS.iter().zip(before) {
        fs::write(file(name), before?)?;
    }
    guards
}

/// Standard output that nobody reads blocks nothing, and loses no event that the store does not have; a closed one ends
/// the agent, with a message.
#[test]
fn standard_output_that_is_full_or_gone() -> Result<()> {
    const CHANGES: usize = 150;
    regions::fresh()?;
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--format", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("no agent")?;
    wait::until("an agent that answers", TIMEOUT, || guard::request(&json!("status")).ok())?;
    let change = || guard::request(&json!({ "mode": { "mode": "audit", "reason": "x".repeat(500) } }));
    let begun = Instant::now();
    for _ in 0..CHANGES {
        change()?;
    }
    ensure!(begun.elapsed() < TIMEOUT, "nobody reads, and {CHANGES} requests take {:?}", begun.elapsed());
    let stdout = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let first: Value = serde_json::from_str(&lines.next().context("no line")??)?;
    ensure!(has_text(&first, "event", "policy_loaded"), "{first}");
    drop(lines);
    // The pipe is gone with its reader.
    let _ = change();
    let ended = wait::exit_of("the agent", &mut child, TIMEOUT)?;
    let mut said = String::new();
    child.stderr.take().context("no standard error")?.read_to_string(&mut said)?;
    ensure!(ended.code() == Some(1) && said.contains("standard output does not accept the event"), "{ended}: {said}");
    let changes = events::written(&["--kind", "mode_changed"])?.len();
    ensure!(changes == CHANGES + 1, "{changes} changes of the mode are in the event store");
    Ok(())
}
