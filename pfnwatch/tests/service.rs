//! What the service manager hears of the agent, from its start to its end.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const TYPES: &str = "/sys/kernel/btf/vmlinux";
const TIMEOUT: Duration = Duration::from_secs(60);

struct Agent(Child);

impl Agent {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn datagram(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let count = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes.get(..count).unwrap().to_vec()).unwrap()
}

fn feeds(said: &str) -> bool {
    said.contains("WATCHDOG=1\n")
}

/// The next word that is not for the watchdog.
fn next(socket: &UnixDatagram) -> String {
    std::iter::repeat_with(|| datagram(socket)).find(|said| !feeds(said)).unwrap()
}

/// A host whose kernel could be observed if it had libnvdimm: `sys` and `proc` below this folder.
fn host_without_libnvdimm(root: &Path) {
    for folder in ["sys/bus/event_source/devices/kprobe", "sys/kernel/btf", "sys/module", "proc/sys/kernel"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("sys/bus/event_source/devices/kprobe/type"), "6\n").unwrap();
    fs::write(root.join("proc/sys/kernel/osrelease"), "6.12.0-test\n").unwrap();
    for there in [TYPES, "/proc/self", "/proc/kallsyms"] {
        symlink(there, root.join(there.trim_start_matches('/'))).unwrap();
    }
}

#[test]
fn ready_idle_reloading_and_stopping_are_told() {
    if !geteuid().is_root() || !Path::new(TYPES).exists() {
        eprintln!("not run: it takes root and a kernel with BTF");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    host_without_libnvdimm(folder.path());
    let socket = UnixDatagram::bind(at("notify")).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    fs::write(at("pfnwatch.toml"), "[web]\nenabled = false\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pfnwatch"));
    command.arg("run").arg("--path.sysfs").arg(at("sys")).arg("--path.procfs").arg(at("proc"));
    command.arg("--config").arg(at("pfnwatch.toml"));
    command.arg("--control-socket").arg(at("run/control.sock")).arg("--store").arg(at("pfnwatch.db"));
    command.env("NOTIFY_SOCKET", at("notify")).stdout(Stdio::null());
    // Without it the watchdog is fed every 30 seconds.
    let patience = Duration::from_secs(1);
    command.env("WATCHDOG_USEC", patience.as_micros().to_string()).env_remove("WATCHDOG_PID");
    let mut agent = Agent(command.spawn().unwrap());

    let said = next(&socket);
    assert!(said.contains("READY=1\n") && said.contains("STATUS=idle: ") && said.contains("; audit\n"), "{said}");

    let before = Instant::now();
    assert!((0..10).map(|_| datagram(&socket)).all(|said| feeds(&said)));
    // At its usual pace they would take five minutes, however busy the machine is.
    assert!(before.elapsed() < 100 * patience, "{:?}", before.elapsed());

    fs::write(at("pfnwatch.toml"), "[guard]\nmode = \"on\"\n").unwrap();
    agent.signal(Signal::SIGHUP);
    let said = next(&socket);
    assert!(said.contains("RELOADING=1\n") && said.contains("MONOTONIC_USEC="), "{said}");
    let said = next(&socket);
    assert!(said.contains("READY=1\n") && said.contains("a configuration was refused"), "{said}");

    agent.signal(Signal::SIGTERM);
    let said = next(&socket);
    assert!(said.contains("STOPPING=1\n"), "{said}");
    assert!(agent.0.wait().unwrap().success());
}

/// The message goes to the system's journal, which more people may read than the configuration.
#[test]
fn a_mistake_at_the_start_is_told_by_its_place_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.toml");
    fs::write(&file, "[[alerts.receivers]]\nurl = \"https://user:hunter2@example.com/hunter2\" nonsense\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pfnwatch")).args(arguments).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["run", "--config"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("pfnwatch.toml") && said.contains("line 2") && !said.contains("hunter2"), "{said}");
    assert!(said.contains("policy check"), "{said}");
    let (code, said) = run(&["policy", "check"]);
    assert!(code == Some(2) && said.contains("hunter2"), "whoever may read the file sees the line: {said}");
}
