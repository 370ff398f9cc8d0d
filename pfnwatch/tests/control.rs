//! The built binary and the real agent over a scripted kernel: exit codes, output, and clear messages if no agent runs.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]
#![allow(clippy::indexing_slicing, reason = "the same")]

#[path = "support/agent_thread.rs"]
mod agent_thread;
#[path = "support/command.rs"]
mod command;
#[path = "support/kernel.rs"]
mod kernel;
#[path = "support/run_agent.rs"]
mod run_agent;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;
#[path = "support/view.rs"]
mod view;

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent_thread::{Agent, saved_block, with_broken_store, with_cheaper_boot, with_namespace};
use command::{Ran, pfnwatch};
use serde_json::Value;
use tree::Tree;

fn run(folder: &Path, socket: &Path, arguments: &[&str]) -> Ran {
    let mut command = pfnwatch();
    command.arg("--path.sysfs").arg(folder).args(arguments).arg("--control-socket").arg(socket);
    Ran::of(arguments, command.output().unwrap())
}

fn ask(agent: &Agent, arguments: &[&str]) -> Ran {
    run(agent.folder(), agent.socket(), arguments)
}

#[test]
fn without_an_agent_each_command_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["alerts", "list"],
        &["mode"],
        &["mode", "enforce"],
        &["allow", "--list"],
        &["allow", "--revoke", "7"],
        &["baseline", "accept", "--host", "--reason", "x"],
    ] {
        let output = run(folder.path(), &folder.path().join("none.sock"), arguments);
        assert_eq!((output.code, output.text.as_str()), (1, ""), "{arguments:?}");
        let said = output.error;
        assert!(said.contains("no pfnwatch agent listens at") && said.contains("pfnwatch run"), "{said}");
    }
}

#[test]
fn the_mode_is_shown_and_changed() {
    let agent = Agent::start();
    let shown = ask(&agent, &["mode"]).text;
    assert!(shown.starts_with("audit since ") && shown.contains("set by the configuration"), "{shown}");
    let output = ask(&agent, &["mode", "enforce", "--reason", "rollout"]);
    assert_eq!((output.code, output.text.as_str()), (0, "enforce from now on; it was audit\n"));
    let json = ask(&agent, &["mode", "--format", "json"]).json();
    assert_eq!((&json["schema"], &json["mode"], &json["reason"]), (&1.into(), &"enforce".into(), &"rollout".into()));
    assert!(json["by"].as_str().unwrap().contains("pfnwatch (pid "), "{json}");
    assert_eq!((&json["source"], &json["configured_mode"]), (&"person".into(), &"audit".into()));
    let shown = ask(&agent, &["mode"]).text;
    assert!(shown.contains("NOT THE CONFIGURATION'S (audit)"), "{shown}");
    let output = ask(&agent, &["mode", "audit", "--format", "json"]);
    assert_eq!(output.json()["previous_mode"], "enforce");
}

#[test]
fn what_cannot_be_enforced_ends_with_4() {
    let agent = Agent::start();
    agent.break_enforcement();
    agent.kernel.set(|state| state.enforce_obstacle = Some("boot with lsm=bpf".to_owned()));
    let output = ask(&agent, &["mode", "enforce"]);
    assert_eq!((output.code, output.text.as_str()), (4, ""));
    assert!(output.error.contains("boot with lsm=bpf"), "{}", output.error);
    assert_eq!(ask(&agent, &["status"]).code, 0, "audit needs no enforcement");
}

#[test]
fn a_change_that_the_kernel_rejects_ends_with_1() {
    let agent = Agent::start();
    agent.kernel.set(|state| state.publish_error = Some("no memory".to_owned()));
    for arguments in
        [&["mode", "enforce"][..], &["allow", "--region", "region0", "--once", "--reason", "restore of db3"]]
    {
        let output = ask(&agent, arguments);
        assert_eq!((output.code, output.text.as_str()), (1, ""), "{arguments:?}");
        assert!(output.error.contains("no memory"), "{}", output.error);
    }
}

#[test]
fn a_status_of_enforce_without_effect_ends_with_4() {
    let agent = Agent::start();
    assert_eq!(ask(&agent, &["mode", "enforce"]).code, 0);
    let output = ask(&agent, &["status"]);
    assert_eq!(output.code, 0);
    let said = output.text;
    for part in ["attached and armed", "effective, proved at ", "reserves 128 B", "0.1 %", "judged 3, denied 1", "none"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    agent.break_enforcement();
    let output = ask(&agent, &["status"]);
    assert_eq!(output.code, 4);
    assert!(output.text.contains("NOT EFFECTIVE: `bpf` is not in the list"), "{}", output.text);
    let output = ask(&agent, &["status", "--format", "json"]);
    assert_eq!((output.code, &output.json()["enforcement_effective"]), (4, &false.into()));
    let output = ask(&agent, &["mode", "enforce"]);
    let expected = "enforce, as before\nNOT EFFECTIVE: `bpf` is not in the list\n";
    assert_eq!((output.code, output.text.as_str()), (4, expected));
}

#[test]
fn a_status_says_what_is_not_as_it_should_be() {
    let agent = Agent::start_with(with_broken_store);
    agent.configure("[[exemptions]]\nregion_start = \"0x200000000000\"\nreason = \"a box that is gone\"\n");
    (0..7).for_each(|_| agent.record(b"no record"));
    agent.lose(2);
    agent.advance(Duration::from_secs(3631));
    agent.kernel.set(|state| state.counters_error = Some("EPERM".to_owned()));
    agent.advance(Duration::from_secs(30));
    agent.wait(|agent| !agent.status().degraded.is_empty());
    let said = ask(&agent, &["status"]).text;
    for part in [
        "(1h 1m 31s), on Linux 6.1.0",
        "in memory: ",
        "1 of 2 programs attached",
        "uuid_store IS NOT ATTACHED: no such function",
        "7 received, 7 NOT DECODED, MISSED: 2 records lost",
        "2026-01-02T03:04:35Z LOST",
        "pfnwatch.toml",
        "off",
        "CANNOT BE WRITTEN: ",
        "exempt is the region that starts at 0x200000000000 (a box that is gone): there is no such region on this host now",
        "DEGRADED     counters since 2026-01-02T04:05:36Z, and retried: EPERM",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json = ask(&agent, &["status", "--format", "json"]).json();
    for (pointer, expected) in [("/agent/uptime_seconds", 3691), ("/records/received", 7), ("/records/lost", 2)] {
        assert_eq!(json.pointer(pointer), Some(&Value::from(expected)), "{pointer}: {json:#}");
    }
    assert_eq!(json["skipped_exemptions"][0]["subject"]["region_start"], "0x200000000000");
    assert_eq!((&json["programs"][1]["attached"], &json["degraded"][0]["part"]), (&false.into(), &"counters".into()));
}

#[test]
fn the_glass_is_broken_and_mended() {
    let agent = Agent::start();
    let why = ["--reason", "restore of db3"];
    let output = ask(&agent, &[&["allow", "--region", "region0", "--once"], &why[..]].concat());
    assert_eq!(output.code, 0, "{}", output.error);
    let said = output.text;
    let (id, said) = said.strip_prefix("exemption ").unwrap().split_once(": ").unwrap();
    assert!(said.starts_with("the region that starts at 0x100000000, once\n"), "{said}");
    let uuid = "5a1e0bb4-6d51-4e4b-9f0c-2f3f0d8f9a11";
    let output = ask(&agent, &[&["allow", "--uuid", uuid, "--for", "10m", "--format", "json"], &why[..]].concat());
    let second = output.json()["id"].clone();
    assert_eq!(output.json()["subject"]["namespace_uuid"], uuid);
    assert_eq!(agent.kernel.get().maps.snapshot.exemption_count, 2, "it is in the kernel");
    let list = ask(&agent, &["allow", "--list"]).text;
    assert!(list.contains("one creation") && list.contains("left)") && list.contains("restore of db3"), "{list}");
    assert!(ask(&agent, &["status"]).text.contains(uuid));
    let status = ask(&agent, &["status", "--format", "json"]).json();
    assert_eq!(status["exemptions"][0]["region"], "region0");
    assert_eq!(ask(&agent, &["allow", "--revoke", id]).text, format!("exemption {id} is revoked\n"));
    assert_eq!(ask(&agent, &["allow", "--revoke", id]).code, 2);
    let list = ask(&agent, &["allow", "--list", "--format", "json"]).json();
    assert_eq!((list["exemptions"].as_array().unwrap().len(), &list["exemptions"][0]["id"]), (1, &second));
}

#[test]
fn wrong_usage_ends_with_2_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    Tree::new(folder.path()).unwrap().region(0, 4 << 30, 64 << 30).unwrap();
    for (arguments, said) in [
        (&["allow"][..], "--region"),
        (&["allow", "--region", "region0", "--once"], "--reason"),
        (&["allow", "--region", "region0", "--reason", "x"], "give --once (one creation)"),
        (&["allow", "--region", "region7", "--once", "--reason", "x"], "there is region0 (0x100000000"),
        (&["allow", "--region", "region0", "--for", "8d", "--reason", "x"], "up to 7 days"),
        (&["allow", "--region", "region0", "--once", "--reason", " "], "the reason is empty"),
        (&["allow", "--uuid", "x", "--once", "--reason", "x"], "invalid"),
        (&["allow", "--uuid", "00000000-0000-0000-0000-000000000000", "--once", "--reason", "x"], "by its start"),
        (&["allow", "--list", "--revoke", "7"], "cannot be used"),
        (&["mode", "off"], "enforce"),
        (&["mode", "--reason", "x"], "required"),
        (&["guard"], "release"),
        (&["baseline", "accept", "--host"], "--reason"),
        (&["baseline", "accept", "--reason", "x"], "--host"),
        (&["baseline", "accept", "--host", "--namespace", "namespace0.0", "--reason", "x"], "cannot be used"),
        (&["baseline", "accept", "--host", "--reason", "\n"], "the reason is empty"),
    ] {
        let output = if arguments == ["guard"] {
            Ran::of(arguments, pfnwatch().args(arguments).output().unwrap())
        } else {
            run(folder.path(), &folder.path().join("none.sock"), arguments)
        };
        assert_eq!(output.code, 2, "{arguments:?} {}", output.error);
        assert!(output.error.contains(said), "{arguments:?} {}", output.error);
    }
}

#[test]
fn a_held_guard_is_released() {
    let agent = Agent::start();
    agent.configure("[guard]\non_agent_exit = \"hold\"\n");
    let said = ask(&agent, &["guard", "release"]).text;
    assert!(!agent.kernel.get().is_pinned);
    assert_eq!(
        said,
        "removed /sys/fs/bpf/pfnwatch/guard\nThe guard is not pinned any more. The running agent's guard stays until \
         the agent ends.\n"
    );
}

#[test]
fn a_kept_block_is_printed_and_written_into_a_new_file_alone() {
    let agent = Agent::start_with(with_namespace);
    let file = agent.folder().join("block.bin");
    let none = agent.folder().join("none.db");
    let restore = |more: &[&str]| {
        ask(&agent, &[&["events", "restore-block"], more, &["--store", none.to_str().unwrap()]].concat())
    };
    let arguments = ["namespace0.0", "-o", file.to_str().unwrap()];
    let output = restore(&arguments);
    assert_eq!(output.code, 0, "{}", output.error);
    let said = output.text;
    for part in
        ["namespace0.0", "last seen", "reservation       35651584 (34 MiB)", &format!("dd if={}", file.display())]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(fs::read(&file).unwrap(), saved_block());
    assert!(restore(&arguments).error.contains("is not overwritten"));
    let output = restore(&["namespace0.0", "--format", "json"]);
    assert_eq!((output.code, &output.json()["excess_bytes"]), (0, &(16 << 20).into()));
    let first = output.json()["restore_commands"][0].clone();
    assert_eq!(first, "pfnwatch events restore-block namespace0.0 -o FILE &&", "it is in no file yet");
    let output = restore(&["namespace9.9"]);
    assert_eq!(output.code, 1);
    let said = output.error;
    assert!(
        said.contains("no info block is kept of namespace9.9") && said.contains("there is no event store"),
        "{said}"
    );
}

#[test]
fn alerts_are_listed() {
    let agent = Agent::start();
    let output = ask(&agent, &["alerts", "list"]);
    assert_eq!(output.code, 0, "{}", output.error);
    assert!(output.text.starts_with("no alert is firing\n"), "{}", output.text);
    let list = ask(&agent, &["alerts", "list", "--format", "json"]).json();
    assert_eq!(
        (&list["schema"], &list["firing"], &list["waiting"]),
        (&1.into(), &Value::from(vec![0; 0]), &Value::from(vec![0; 0]))
    );
}

#[test]
fn a_baseline_is_accepted() {
    let agent = Agent::start_with(with_cheaper_boot);
    let accept = ["baseline", "accept", "--reason", "ticket 7"];
    let output = ask(&agent, &[&accept[..], &["--host", "--format", "json"]].concat());
    assert_eq!(output.code, 0, "{}", output.error);
    let said = output.json();
    assert_eq!((&said["schema"], &said["before"]["kernel"]), (&1.into(), &"6.0.12".into()));
    assert!(said["after"]["reservation_bytes"].as_u64() > said["before"]["reservation_bytes"].as_u64(), "{said}");
    let output = ask(&agent, &[&accept[..], &["--host"]].concat());
    assert_eq!((output.code, output.text.as_str()), (2, ""), "it does not cost more than what was accepted");
    let output = ask(&agent, &[&accept[..], &["--namespace", "namespace0.0"]].concat());
    assert_eq!((output.code, output.text.as_str()), (2, ""));
    assert!(output.error.contains("namespace0.0 does not cost more than before"), "{}", output.error);
}
