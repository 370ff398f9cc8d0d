//! The agent's loop with a scripted kernel and a scripted clock.

mod device_baselines;
mod devices;
mod memmap;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::{KnownBlock, NamespacePlace};
use pfnwatch_common::policy;
use serde_json::Value;

use crate::model::control::{Allow, Request, Response};
use crate::model::exit::Exit;
use crate::model::policy::{ExemptionSubject, Mode, ModeChoice};
use crate::model::status::{DegradedPart, Status};
use crate::model::view::ProgramRuns;
use crate::os::control_client;
use crate::sysfs::module_watch::ModuleChange;
use crate::testing::kernel::{FakeKernel, KNOWN_CAPACITY, Message, counters};
use crate::testing::run_agent::Rig;
use crate::testing::tree::{Pmem, Tree};

const HELD: &str = "[guard]\nmode = \"enforce\"\non_agent_exit = \"hold\"\n";
const ENFORCE: &str = "[guard]\nmode = \"enforce\"\n";
const TICK: Duration = Duration::from_secs(30);

/// Runs an agent with this configuration until the script has ended, and returns the events.
fn scenario(kernel: &FakeKernel, config: &str, script: impl AsyncFnOnce(&Rig)) -> Vec<Value> {
    let (ended, events) = run(kernel, config, script);
    ended.unwrap();
    events
}

fn run(kernel: &FakeKernel, config: &str, script: impl AsyncFnOnce(&Rig)) -> (anyhow::Result<()>, Vec<Value>) {
    let (rig, signals) = Rig::new(kernel.clone(), config);
    Tree::new(rig.folder.path()).unwrap().region(0, 4 << 30, 64 << 30).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let act = async {
            rig.wait_until_idle().await;
            script(&rig).await;
            rig.end();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = rig.run(signals) => ended,
            () = act => unreachable!("it waits for the agent's end"),
        }
    });
    (ended, rig.log.events())
}

impl Rig {
    async fn ask(&self, request: Request) -> anyhow::Result<Response> {
        let socket: PathBuf = self.socket();
        tokio::task::spawn_blocking(move || control_client::request(&socket, &request)).await.unwrap()
    }

    /// Lets the agent do all that it has to: of two requests the second is answered after whatever was due before.
    async fn wait_until_idle(&self) -> Status {
        while !self.socket().exists() {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            self.ask(Request::Status).await.unwrap();
        }
        match self.ask(Request::Status).await.unwrap() {
            Response::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    async fn tick(&self) -> Status {
        self.clock.advance(TICK);
        self.wait_until_idle().await
    }

    async fn reconfigure(&self, config: &str) -> Status {
        self.configure(config);
        self.reload();
        self.wait_until_idle().await
    }

    async fn mode(&self, mode: ModeChoice) -> anyhow::Result<Option<String>> {
        match self.ask(Request::Mode { mode, reason: None }).await? {
            Response::Mode(response) => Ok(response.ineffective_reason),
            other => panic!("{other:?}"),
        }
    }

    async fn allow(&self, once: bool) -> anyhow::Result<u64> {
        let subject = ExemptionSubject::RegionStart(4 << 30);
        let allow = Allow { subject, once, for_seconds: (!once).then_some(600), reason: "a test".to_owned() };
        match self.ask(Request::Allow(allow)).await? {
            Response::Allowed(allowed) => Ok(allowed.id),
            other => panic!("{other:?}"),
        }
    }
}

/// The observation's events and the last one, in order: each state change is reported once.
fn states(events: &[Value]) -> Vec<String> {
    let state = |event: &Value| match event["event"].as_str().unwrap() {
        "ready" => Some(event["state"].as_str().unwrap().to_owned()),
        "blind" => Some(format!("blind: {}", event["reason"].as_str().unwrap())),
        "stopped" => Some("stopped".to_owned()),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

fn exit_code(error: &anyhow::Error) -> u8 {
    Exit::from_error(error) as u8
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

#[test]
fn first_attachment_and_drain_on_sigterm() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, "", async |rig| {
        let status = rig.wait_until_idle().await;
        assert!(status.agent.observing && status.guard.judges && !status.guard.pinned, "{status:?}");
        assert_eq!(status.agent.phase.to_string(), "running");
        // It is still in the ring when the agent is asked to end.
        rig.kernel.set(|state| state.inbox.push_back(Message::Record(Bytes::from_static(b"no record"))));
    });
    assert_eq!(states(&events), ["observing", "stopped"]);
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["decode_error", "stopped"]);
    assert_eq!(events.last().unwrap()["received"], 1);
    assert!(!kernel.get().is_attached);
}

#[test]
fn libnvdimm_unloaded_and_loaded() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, "", async |rig| {
        rig.kernel.load_module(false);
        let status = rig.wait_until_idle().await;
        assert!(!status.agent.observing && status.agent.ready && !status.guard.attached, "{status:?}");
        rig.kernel.load_module(true);
        assert!(rig.wait_until_idle().await.guard.judges);
        rig.tick().await;
        // Both at once: the probes of the first load are gone.
        rig.kernel.send(Message::Module(Ok(ModuleChange::Removed)));
        rig.wait_until_idle().await;
    });
    let unloaded = "blind: libnvdimm was unloaded";
    let expected = ["observing", unloaded, "idle", "observing", unloaded, "observing", "stopped"];
    assert_eq!(states(&events), expected);
    assert_eq!(kernel.get().attachments, 3);
}

#[test]
fn reattachment_that_fails_half_way_is_tried_again() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, "", async |rig| {
        rig.kernel.set(|state| state.maps_error = Some("no map".to_owned()));
        rig.kernel.send(Message::Module(Ok(ModuleChange::Removed)));
        let status = rig.wait_until_idle().await;
        assert!(!status.agent.observing && !status.agent.ready && !status.guard.attached, "{status:?}");
        assert!(!rig.kernel.get().is_attached, "the programs of the failed attempt are detached");
        rig.tick().await;
        rig.kernel.set(|state| state.maps_error = None);
        let status = rig.tick().await;
        assert!(status.agent.observing && status.guard.judges, "{status:?}");
        rig.tick().await;
    });
    assert_eq!(
        states(&events),
        ["observing", "blind: libnvdimm was unloaded", "blind: no map", "observing", "stopped"],
        "the second failure is no news"
    );
}

#[test]
fn first_attachment_that_this_host_does_not_allow_ends_the_agent() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.attach_error = Some("no BTF".to_owned()));
    let (ended, events) = run(&kernel, "", async |_| {});
    let error = ended.unwrap_err();
    assert_eq!((format!("{error:#}"), exit_code(&error)), ("not on this host: no BTF".to_owned(), 4));
    assert_eq!(states(&events), Vec::<String>::new());
}

#[test]
fn first_attachment_that_fails_for_now_is_retried() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| (state.attach_error, state.attach_error_passes) = (Some("EBUSY".to_owned()), true));
    let events = scenario(&kernel, ENFORCE, async |rig| {
        let status = rig.wait_until_idle().await;
        assert_eq!(status.agent.phase.to_string(), "starting");
        assert_eq!(
            (status.agent.retry_in_seconds, status.agent.blind_reason()),
            (Some(1), "EBUSY; retry in 1 s".into())
        );
        assert_eq!((status.degraded[0].part, status.degraded[0].error.as_str()), (DegradedPart::Programs, "EBUSY"));
        assert!(!status.agent.ready && !status.enforcement_effective && !status.guard.attached, "{status:?}");
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.wait_until_idle().await.agent.retry_in_seconds, Some(2));
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.wait_until_idle().await.agent.retry_in_seconds, Some(1));
        assert_eq!(rig.kernel.get().failed_attachments, 2);
        rig.kernel.set(|state| state.attach_error = None);
        rig.clock.advance(Duration::from_secs(1));
        let status = rig.wait_until_idle().await;
        assert!(status.agent.observing && status.enforcement_effective && status.degraded.is_empty(), "{status:?}");
        assert_eq!((status.agent.retry_in_seconds, status.agent.phase.to_string()), (None, "running".to_owned()));
    });
    assert_eq!(states(&events), ["blind: EBUSY", "observing", "stopped"]);
    assert_eq!(kernel.get().attachments, 1);
}

#[test]
fn first_attachment_that_turns_out_impossible_ends_the_agent() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| (state.attach_error, state.attach_error_passes) = (Some("EBUSY".to_owned()), true));
    let (ended, events) = run(&kernel, "", async |rig| {
        rig.kernel.set(|state| state.attach_error_passes = false);
        rig.clock.advance(Duration::from_secs(1));
        // The agent ends, and the script with it.
        std::future::pending::<()>().await;
    });
    assert_eq!((exit_code(&ended.unwrap_err()), states(&events)), (4, vec!["blind: EBUSY".to_owned()]));
}

#[test]
fn first_attachment_that_is_retried_leaves_a_pinned_guard_armed() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    kernel.set(|state| {
        (state.attach_error, state.attach_error_passes) = (Some("ENOMEM".to_owned()), true);
        state.published_armed.clear();
    });
    scenario(&kernel, HELD, async |rig| {
        let status = rig.wait_until_idle().await;
        assert!(rig.kernel.refuses() && status.guard.pinned && status.guard.armed, "{status:?}");
        assert_eq!(status.agent.blind_reason(), "ENOMEM; retry in 1 s");
        rig.kernel.set(|state| state.attach_error = None);
        rig.clock.advance(Duration::from_secs(1));
        assert!(rig.wait_until_idle().await.enforcement_effective);
        assert!(rig.kernel.get().published_armed.iter().all(|armed| *armed));
    });
}

#[test]
fn loss_is_reported_once() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, "", async |rig| {
        rig.kernel.set(|state| state.counters = counters(Counter::Lost, 3));
        rig.tick().await;
        let status = rig.tick().await;
        assert_eq!(status.records.missed.lost, 3);
    });
    let lost: Vec<_> = of_kind(&events, "lost").iter().map(|event| event["lost"].as_u64()).collect();
    assert_eq!((lost, events.last().unwrap()["lost"].as_u64()), (vec![Some(3)], Some(3)));
}

#[test]
fn missed_probes_are_in_the_status_if_the_kernel_counts_them() {
    let kernel = FakeKernel::sound();
    let runs = |program: &str, probe_misses| ProgramRuns {
        program: program.to_owned(),
        counted: None,
        recursion_misses: Some(1),
        probe_misses,
    };
    kernel.set(|state| state.runs = vec![runs("bus_probe", Some(4)), runs("guard", None)]);
    scenario(&kernel, "", async |rig| {
        assert_eq!(rig.wait_until_idle().await.probe_misses, [("bus_probe".to_owned(), 4)].into());
    });
}

#[test]
fn unreadable_counters_and_module_messages_degrade_the_agent() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, "", async |rig| {
        rig.kernel.set(|state| state.counters_error = Some("EPERM".to_owned()));
        rig.tick().await;
        let status = rig.tick().await;
        let [degraded] = status.degraded.as_slice() else { panic!("{status:?}") };
        assert_eq!((degraded.part, degraded.error.as_str()), (DegradedPart::Counters, "EPERM"));
        assert!(status.agent.observing && status.counters.is_empty());
        rig.kernel.set(|state| (state.counters_error, state.counters) = (None, counters(Counter::Lost, 2)));
        assert_eq!(rig.tick().await.degraded, []);
        rig.kernel.send(Message::Module(Err(io::Error::other("broken"))));
        let status = rig.wait_until_idle().await;
        assert!(status.agent.observing, "libnvdimm may have changed, so that the agent attaches again");
        assert_eq!(status.degraded[0].part, DegradedPart::ModuleEvents);
        assert_eq!(rig.tick().await.degraded, []);
    });
    assert_eq!(of_kind(&events, "lost").len(), 1);
    let overrun = "blind: messages of the kernel about modules were lost: looking again";
    assert_eq!(states(&events), ["observing", overrun, "observing", "stopped"]);
}

#[test]
fn reload_of_a_wrong_file_keeps_the_policy() {
    let kernel = FakeKernel::sound();
    let events = scenario(&kernel, ENFORCE, async |rig| {
        let number = rig.wait_until_idle().await.policy.number;
        let status = rig.reconfigure("[guard]\nmode = \"on\"\n").await;
        assert!(status.policy.reload_error.as_ref().unwrap().contains("expected `audit` or `enforce`"), "{status:?}");
        assert_eq!((status.mode.mode, status.policy.number), (Mode::Enforce, number));
        assert!(rig.kernel.refuses() && status.enforcement_effective);
        let status = rig.reconfigure("[guard]\nmode = \"audit\"\n").await;
        assert_eq!((status.mode.mode, status.policy.reload_error), (Mode::Audit, None));
        assert!(!rig.kernel.refuses());
    });
    assert_eq!((of_kind(&events, "policy_refused").len(), of_kind(&events, "policy_loaded").len()), (1, 2));
    assert_eq!(states(&events), ["observing", "stopped"]);
}

/// Issue: the agent dropped its maps when it went blind, and the pinned guard judged on by what nobody could change.
#[test]
fn break_glass_has_effect_on_a_pinned_guard() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |rig| {
        assert!(rig.kernel.refuses());
        let revoked = rig.allow(false).await.unwrap();
        rig.kernel.set(|state| state.probes_disabled = Some("kprobes are switched off".to_owned()));
        let status = rig.tick().await;
        assert!(!status.agent.observing && status.guard.attached && status.guard.pinned, "{status:?}");
        assert!(!status.guard.judges && !status.enforcement_effective && !rig.kernel.refuses(), "it is disarmed");
        assert!(status.guard.reason.as_ref().unwrap().contains("kprobes are switched off"), "{status:?}");
        rig.mode(ModeChoice::Audit).await.unwrap();
        assert_eq!(rig.kernel.get().maps.snapshot.mode, policy::Mode::Audit as u32);
        rig.ask(Request::Revoke { id: revoked }).await.unwrap();
        let kept = rig.allow(true).await.unwrap();
        assert_eq!(rig.kernel.get().maps.snapshot.exemptions[0].id, kept);
        // What the kernel does not take has not happened.
        rig.kernel.set(|state| state.publish_error = Some("ENOMEM".to_owned()));
        for error in [
            rig.mode(ModeChoice::Enforce).await.unwrap_err(),
            rig.allow(true).await.unwrap_err(),
            rig.ask(Request::Revoke { id: kept }).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("ENOMEM"), "{error}");
        }
        rig.kernel.set(|state| (state.publish_error, state.probes_disabled) = (None, None));
        let status = rig.tick().await;
        assert!(status.agent.observing && status.guard.judges, "{status:?}");
        assert_eq!(status.mode.mode, Mode::Audit, "not the mode before");
        assert_eq!(status.exemptions.iter().map(|it| it.id).collect::<Vec<_>>(), [kept], "what was revoked stays so");
        assert_eq!(rig.kernel.get().maps.tickets.len(), 1);
    });
}

#[test]
fn agent_that_starts_blind_opens_the_pinned_guard() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |rig| {
        rig.mode(ModeChoice::Enforce).await.unwrap();
        rig.allow(false).await.unwrap();
    });
    assert!(kernel.refuses(), "it guards without an agent");
    kernel.set(|state| state.probes_disabled = Some("kprobes are switched off".to_owned()));
    let events = scenario(&kernel, HELD, async |rig| {
        let status = rig.wait_until_idle().await;
        assert!(status.guard.pinned && !status.guard.judges && !rig.kernel.refuses(), "{status:?}");
        assert_eq!((status.mode.mode, status.exemptions.len()), (Mode::Enforce, 1), "of the agent before");
        rig.ask(Request::Revoke { id: status.exemptions[0].id }).await.unwrap();
        rig.mode(ModeChoice::Audit).await.unwrap();
        rig.kernel.set(|state| state.probes_disabled = None);
        let status = rig.tick().await;
        assert!(status.guard.judges && status.exemptions.is_empty() && status.mode.mode == Mode::Audit, "{status:?}");
    });
    assert_eq!(states(&events), ["blind: kprobes are switched off", "observing", "stopped"]);
    assert_eq!(of_kind(&events, "guard_taken_over").len(), 1);
}

#[test]
fn mode_that_is_set_while_libnvdimm_is_not_loaded_stays() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    kernel.set(|state| state.is_module_loaded = false);
    scenario(&kernel, "[guard]\non_agent_exit = \"hold\"\n", async |rig| {
        assert_eq!(
            rig.wait_until_idle().await.mode.mode,
            Mode::Audit,
            "the configuration's, since no person has set another"
        );
        let reason = rig.mode(ModeChoice::Enforce).await.unwrap();
        assert!(reason.unwrap().contains("libnvdimm is not loaded"));
        rig.kernel.load_module(true);
        let status = rig.wait_until_idle().await;
        assert!(status.mode.mode == Mode::Enforce && status.enforcement_effective && rig.kernel.refuses());
    });
}

#[test]
fn pinned_guard_that_cannot_be_opened_fails_the_command() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    kernel.set(|state| {
        state.maps_error = Some("EACCES".to_owned());
        state.is_module_loaded = false;
    });
    scenario(&kernel, HELD, async |rig| {
        assert_eq!(rig.wait_until_idle().await.degraded[0].part, DegradedPart::Pins);
        for error in [rig.mode(ModeChoice::Audit).await.unwrap_err(), rig.allow(true).await.unwrap_err()] {
            assert!(error.to_string().contains("nothing was changed"), "{error}");
        }
        rig.kernel.set(|state| state.maps_error = None);
        rig.mode(ModeChoice::Audit).await.unwrap();
        let status = rig.tick().await;
        assert!(status.guard.pinned && status.degraded.is_empty(), "{status:?}");
    });
}

/// Effective means: would refuse an oversize creation now.
#[test]
fn effective_is_what_the_kernel_does() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.max_struct_page = None);
    let events = scenario(&kernel, ENFORCE, async |rig| {
        let effective = async |why: &str| {
            let status = rig.tick().await;
            assert_eq!(status.enforcement_effective, rig.kernel.refuses() && why.is_empty(), "{status:?}");
            let reason = status.ineffective_reason.unwrap_or_default();
            assert!(reason.contains(why) && reason.is_empty() == why.is_empty(), "{reason}");
            let reason = rig.mode(ModeChoice::Enforce).await.unwrap().unwrap_or_default();
            assert!(reason.contains(why) && reason.is_empty() == why.is_empty(), "{reason}");
        };
        effective("MAX_STRUCT_PAGE_SIZE").await;
        rig.kernel.set(|state| state.max_struct_page = Some(64));
        rig.kernel.send(Message::Module(Ok(ModuleChange::Removed)));
        effective("").await;
        rig.kernel.set(|state| state.self_test_error = Some("it did not run".to_owned()));
        rig.clock.advance(Duration::from_secs(300));
        effective("it did not run").await;
        rig.kernel.set(|state| state.self_test_error = None);
        rig.clock.advance(Duration::from_secs(300));
        effective("").await;
        rig.mode(ModeChoice::Audit).await.unwrap();
        let status = rig.wait_until_idle().await;
        assert!(status.guard.judges && !status.enforcement_effective);
        assert_eq!(status.ineffective_reason.as_deref(), Some("the mode is audit"));
        // The kernel has counted another load of libnvdimm than the agent has seen.
        rig.mode(ModeChoice::Enforce).await.unwrap();
        rig.kernel.set(|state| state.maps.module_epoch += 1);
        let status = rig.wait_until_idle().await;
        assert!(!rig.kernel.refuses() && !status.enforcement_effective && !status.guard.armed, "{status:?}");
        effective("").await;
    });
    assert!(of_kind(&events, "guard_state").len() > 3);
}

#[test]
fn unreadable_inventory_does_not_arm_the_guard() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, ENFORCE, async |rig| {
        let devices = rig.folder.path().join("bus/nd/devices");
        let away = rig.folder.path().join("away");
        std::fs::rename(&devices, &away).unwrap();
        std::fs::write(&devices, "").unwrap();
        rig.kernel.send(Message::Module(Ok(ModuleChange::Removed)));
        let status = rig.wait_until_idle().await;
        assert!(status.agent.observing && !status.guard.judges && !rig.kernel.refuses(), "{status:?}");
        assert_eq!(status.degraded[0].part, DegradedPart::Arming);
        std::fs::remove_file(&devices).unwrap();
        std::fs::rename(&away, &devices).unwrap();
        let status = rig.tick().await;
        assert!(status.guard.judges && status.degraded.is_empty() && rig.kernel.refuses(), "{status:?}");
    });
}

#[test]
fn policy_that_the_kernel_rejects_leaves_the_guard_as_it_is() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, ENFORCE, async |rig| {
        rig.kernel.set(|state| state.publish_error = Some("ENOMEM".to_owned()));
        rig.kernel.send(Message::Module(Ok(ModuleChange::Removed)));
        let status = rig.wait_until_idle().await;
        assert!(!status.guard.armed && !status.enforcement_effective && !rig.kernel.refuses(), "{status:?}");
        let status = rig.reconfigure("[guard]\nmode = \"audit\"\n").await;
        assert!(status.mode.mode == Mode::Enforce && status.policy.reload_error.is_some(), "{status:?}");
        rig.kernel.set(|state| state.publish_error = None);
        let status = rig.tick().await;
        assert!(status.enforcement_effective && rig.kernel.refuses() && status.degraded.is_empty(), "{status:?}");
    });
}

#[test]
fn enforce_that_is_not_effective_ends_the_agent_only_if_the_kernel_cannot() {
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.self_test_error = Some("it did not run".to_owned()));
    let required = "[guard]\nmode = \"enforce\"\nrequire_effective = true\n";
    let (ended, _) = run(&kernel, required, async |_| {});
    let error = ended.unwrap_err();
    assert!(exit_code(&error) == 4 && error.to_string().contains("it did not run"), "{error:#}");
    scenario(&kernel, ENFORCE, async |rig| assert!(!rig.wait_until_idle().await.enforcement_effective));
    kernel.set(|state| state.enforce_obstacle = Some("bpf is not in the list".to_owned()));
    let (ended, _) = run(&kernel, ENFORCE, async |_| {});
    let error = ended.unwrap_err();
    assert!(exit_code(&error) == 4 && error.to_string().contains("bpf is not in the list"), "{error:#}");
    scenario(&kernel, "", async |rig| {
        let refused = rig.mode(ModeChoice::Enforce).await.unwrap_err();
        assert_eq!((exit_code(&refused), rig.wait_until_idle().await.mode.mode), (4, Mode::Audit));
    });
}

/// A person's choice outlives a restart and a reload until a person changes it; the configuration's does not.
#[test]
fn mode_of_a_person_outlives_restarts_and_reloads() {
    let audit = "[guard]\nmode = \"audit\"\non_agent_exit = \"hold\"\n";
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    scenario(&kernel, audit, async |rig| {
        let status = rig.wait_until_idle().await;
        assert_eq!(
            (status.mode.mode, status.mode.overridden()),
            (Mode::Audit, None),
            "nobody has set the mode by hand"
        );
        rig.mode(ModeChoice::Enforce).await.unwrap();
    });
    assert!(kernel.refuses());
    let events = scenario(&kernel, audit, async |rig| {
        let status = rig.wait_until_idle().await;
        assert_eq!((status.mode.mode, status.mode.overridden()), (Mode::Enforce, Some(Mode::Audit)));
        assert!(status.mode.by.starts_with("a person"), "{}", status.mode.by);
        rig.reload();
        assert_eq!(rig.wait_until_idle().await.mode.mode, Mode::Enforce);
        assert!(rig.kernel.refuses());
        rig.mode(ModeChoice::Configured).await.unwrap();
        assert_eq!(rig.wait_until_idle().await.mode.overridden(), None);
        assert!(!rig.kernel.refuses());
        assert_eq!(rig.reconfigure(HELD).await.mode.mode, Mode::Enforce, "the configuration's again");
    });
    let taken_over = of_kind(&events, "guard_taken_over");
    assert!(taken_over[0]["detail"].as_str().unwrap().contains("a person has set"), "{taken_over:?}");
    let states = of_kind(&events, "guard_state");
    assert!(states.iter().any(|state| state["mode"] == "enforce" && state["configured_mode"] == "audit"));
}

/// What was known of namespaces that are no longer there makes room for others, once room is short. What changes meanwhile is in use.
#[test]
fn places_without_a_namespace_are_forgotten_if_room_is_short() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    let place = |number| NamespacePlace { start: (5_u64 << 30) + (number << 24), region: 0 };
    let fill = |count| {
        let places = (0..count).map(|number| (place(number), KnownBlock::NONE)).collect();
        kernel.set(|state| state.maps.blocks = places);
    };
    let known = |rig: &Rig| rig.kernel.get().maps.blocks.len();
    fill(KNOWN_CAPACITY as u64 * 3 / 4 - 1);
    scenario(&kernel, HELD, async |rig| {
        let before = known(rig);
        for _ in 0..3 {
            rig.tick().await;
        }
        assert_eq!(known(rig), before, "there is room");
    });
    fill(KNOWN_CAPACITY as u64 * 3 / 4);
    scenario(&kernel, HELD, async |rig| {
        let before = known(rig);
        rig.tick().await;
        assert_eq!(known(rig), before, "they may be made again");
        rig.kernel.set(|state| state.maps.blocks.insert(place(3), KnownBlock::of_uuid([1, 2])));
        rig.tick().await;
        let left: Vec<_> = rig.kernel.get().maps.blocks.keys().copied().collect();
        assert_eq!(left, [place(3)], "one is used");
    });
}

/// What the inventory shows of a region is good until the region is enabled again.
#[test]
fn known_blocks_are_of_the_regions_epoch() {
    let kernel = FakeKernel::sound();
    let pmem = Pmem { start: 4 << 30, ..Pmem::default() };
    let place = NamespacePlace { start: pmem.start, region: u64::from(pmem.region) };
    let slot = usize::try_from(place.epoch_slot()).unwrap();
    kernel.set(|state| state.maps.region_epochs[slot] = 5);
    scenario(&kernel, ENFORCE, async |rig| {
        Tree::new(rig.folder.path()).unwrap().namespace(&pmem).unwrap();
        rig.kernel.load_module(true);
        rig.tick().await;
        let blocks = rig.kernel.get().maps.blocks.clone();
        assert_eq!(blocks.get(&place).map(|block| (block.exists, block.region_epoch)), Some((1, 5)), "{blocks:?}");
    });
}

/// Facts that are found one after the other must not disarm it meanwhile.
#[test]
fn guard_that_is_taken_over_judges_without_a_gap() {
    let kernel = FakeKernel::sound();
    scenario(&kernel, HELD, async |_| {});
    kernel.set(|state| state.published_armed.clear());
    scenario(&kernel, HELD, async |rig| {
        assert!(rig.wait_until_idle().await.enforcement_effective);
        let published = rig.kernel.get().published_armed.clone();
        assert!(!published.is_empty() && published.iter().all(|armed| *armed), "{published:?}");
    });
}

/// Alerts are evaluated, sent, and sent again by the agent's clock: nothing here takes that long.
#[test]
fn alerts_are_sent_and_retried_by_the_agents_clock() {
    // Nobody listens on the port of a socket that is closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook =
        format!("[[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\n");
    let kernel = FakeKernel::sound();
    kernel.set(|state| state.max_struct_page = None);
    let began = std::time::Instant::now();
    scenario(&kernel, ENFORCE, async |rig| {
        rig.reconfigure(&format!("{ENFORCE}{hook}")).await;
        for attempts in 1..5 {
            // The longest pause between two attempts.
            rig.clock.advance(Duration::from_secs(300));
            let alerts = loop {
                let Response::Alerts(alerts) = rig.ask(Request::Alerts).await.unwrap() else { panic!("no alerts") };
                if alerts.receivers[0].failed >= attempts {
                    break alerts;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "{alerts:?}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert_eq!((alerts.receivers[0].failed, u64::from(alerts.waiting[0].attempts)), (attempts, attempts));
        }
    });
}
