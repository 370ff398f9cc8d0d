//! Made-up hosts as the agent would show them: for the tests of metrics and of the page, in the library and with real programs.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use pfnwatch::model::memmap_return::{MemmapEvidence, MemmapReturnStatus, MemmapVerdict};
use pfnwatch::model::policy::Mode;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use pfnwatch::model::alert::DeliveryStats;
use pfnwatch::model::capacity::{Cost, Regression, RegressionSubject};
use pfnwatch::model::event::{Body, LostRecords, MaxStructPageStatus, ProgramState, RecordTotals};
use pfnwatch::model::inventory::{InfoBlocks, Inventory};
use pfnwatch::model::kernel::{KernelFacts, MemmapCounter};
use pfnwatch::model::policy::{ExemptionSubject as Exempt, ModeSource, OnAgentExit};
use pfnwatch::model::scan_result::ScanResult;
use pfnwatch::model::status::{
    AgentPhase, AgentStatus, DegradedPart, DegradedStatus, GuardStatus, MemoryStatus, ModeStatus, PolicyStatus,
    SelfTestStatus, SkippedExemptionStatus, Status, WebStatus,
};
use pfnwatch::model::thresholds::Thresholds;
use pfnwatch::model::timestamp::Timestamp;
use pfnwatch::model::view::{EventLine, ProgramRuns, RunCount, View};
use pfnwatch::sysfs::inventory::SysfsRoots;
use pfnwatch_common::counter::Counter;
use strum::VariantArray as _;

use super::tree::{DaxDevice, Pmem, Tree};

const GIB: u64 = 1 << 30;

/// A name with markup, which a web page must escape.
pub const HOSTILE: &str = "<script>document.title='taken'</script>\"'&\\\n";

pub fn scan(build: impl FnOnce(&Tree) -> std::io::Result<()>) -> ScanResult {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: Path::new("/proc").to_owned(), dev: None };
    let kernel = KernelFacts {
        release: "6.1.0-50-amd64".to_owned(),
        page_size: 4096,
        struct_page_size: Some(64),
        deduplicates: Some(true),
        may_lose_memmap: false,
        allows_empty: None,
        aligns: None,
    };
    ScanResult::assess(Inventory::read(&roots).unwrap(), &InfoBlocks::default(), kernel, &Thresholds::default())
}

pub fn healthy() -> View {
    let pmem = |id, dax| Pmem { id, dax, start: 4 * GIB + u64::from(id) * 16 * GIB, ..Pmem::default() };
    let scan = scan(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&pmem(0, false))?;
        tree.namespace(&Pmem { map: "ram", ..pmem(1, true) })?;
        tree.memory_hotplug(128 << 20, "N")?;
        tree.memory_blocks(366..374, "online")?;
        tree.dax_device(&DaxDevice { name: "dax1.0", driver: Some("kmem"), ..DaxDevice::default() })
    });
    let memmap_counter = Some(MemmapCounter { bytes: 320 << 20, may_overcount_deduplicated: false });
    View {
        now: UNIX_EPOCH + Duration::from_secs(1_767_323_045),
        status: Status { totals: Some(scan.totals), device_totals: Some(scan.device_totals), ..status() },
        scan: Ok(ScanResult { memmap_counter, ..scan }),
        max_struct_page_size: Some(64),
        programs: programs(),
        runs: vec![ProgramRuns {
            program: "guard".to_owned(),
            counted: Some(RunCount { count: 1800, time_ns: 1_500_000 }),
            recursion_misses: Some(3),
            probe_misses: Some(2),
        }],
        events: Body::KINDS.iter().map(|kind| (*kind, u64::from(*kind == "ready"))).collect(),
        last_events: vec![line("ready", "ready    observing on Linux 6.1.0-50-amd64, 12 programs")],
        regressions: Vec::new(),
        store: pfnwatch::model::store::StoreHealth {
            file: Some("/var/lib/pfnwatch/pfnwatch.db".into()),
            events: 12,
            size_bytes: 65536,
            ..pfnwatch::model::store::StoreHealth::default()
        },
        alerts: vec![DeliveryStats { receiver: "alertmanager".to_owned(), delivered: 2, ..DeliveryStats::default() }],
        degraded: DegradedPart::VARIANTS.iter().map(|part| (*part, 0)).collect(),
    }
}

/// One namespace of a regressed kernel, one that cannot be judged, and a host in enforce.
pub fn oversize() -> View {
    let mut view = healthy();
    view.scan = Ok(scan(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() })?;
        tree.namespace(&Pmem { id: 1, dax: true, start: 20 * GIB, ..Pmem::default() })?;
        tree.namespace(&Pmem { id: 2, start: 36 * GIB, ..Pmem::default() })?;
        tree.write("pfn0.3", &[("size", "-1")])
    }));
    view.max_struct_page_size = Some(128);
    let memmaps = &mut view.status.memmap_return;
    (memmaps.verdict, memmaps.lost_bytes) = (MemmapVerdict::NotReturned, [(MemmapEvidence::Code, 0)].into());
    view.status.max_struct_page.max_struct_page_size_bytes = Some(128);
    (view.status.mode.mode, view.status.mode.configured_mode) = (Mode::Enforce, Mode::Enforce);
    (view.status.enforcement_effective, view.status.ineffective_reason) = (true, None);
    view.events.insert("denied", 3);
    let denied =
        "DENIED   namespace0.3: 512 MiB would be reserved, 256 MiB too much; `pfnwatch plan` prints what can be done";
    view.last_events.push(line("denied", denied));
    view
}

/// All that can be wrong at once.
pub fn blind() -> View {
    let mut view = oversize();
    let agent = &mut view.status.agent;
    (agent.observing, agent.ready) = (false, false);
    agent.reason = Some("the kernel refuses to load setup_enter: permission denied".to_owned());
    view.status.enforcement_effective = false;
    view.status.ineffective_reason = Some("the guard was not seen to run".to_owned());
    view.status.guard = GuardStatus {
        attached: false,
        pinned: false,
        armed: false,
        judges: false,
        reason: Some("the programs are detached".to_owned()),
    };
    view.status.mode.configured_mode = Mode::Audit;
    let since = view.status.agent.started;
    let counters = DegradedStatus { part: DegradedPart::Counters, since, error: "EPERM".to_owned() };
    view.status.degraded.push(counters);
    view.degraded.insert(DegradedPart::Counters, 3);
    view.status.records.decode_errors = 1;
    view.status.records.missed = LostRecords { lost: 17, read_faults: 2, ..LostRecords::default() };
    view.status.memmap_return = MemmapReturnStatus {
        verdict: MemmapVerdict::NotReturned,
        evidence: Some(MemmapEvidence::Code),
        problem: None,
        lost_bytes: [(MemmapEvidence::Code, 16_744_448)].into(),
    };
    view.status.policy.reload_error = Some("line 3, column 1: unknown field `gaurd`".to_owned());
    view.status.skipped_exemptions.push(SkippedExemptionStatus {
        subject: Exempt::RegionStart(4 * GIB),
        reason: "a box that is gone".to_owned(),
        skip_reason: "its end has passed".to_owned(),
    });
    view.programs.push(ProgramState {
        program: "uuid_store".to_owned(),
        attached: false,
        reason: Some("the kernel has no function nd_uuid_store to probe".to_owned()),
    });
    view.store.error = Some("the disk is full".to_owned());
    view.alerts[0].error = Some("connection refused".to_owned());
    let cost = |kernel: &str, gib| Cost {
        kernel: kernel.to_owned(),
        seen: "2026-01-01T00:00:00Z".to_owned(),
        reservation_bytes: gib * GIB,
        excess_bytes: (gib - 16) * GIB,
        max_struct_page_size_bytes: Some(gib * 4),
    };
    let (before, after) = (cost("6.0.12", 16), cost("6.1.0", 32));
    view.regressions.push(Regression { subject: RegressionSubject::Host, before, after });
    view
}

pub fn idle() -> View {
    let mut view = healthy();
    view.scan = Ok(scan(|_| Ok(())));
    view.status.agent.observing = false;
    view.status.agent.reason = Some("libnvdimm is not loaded".to_owned());
    (view.programs, view.runs, view.last_events) = (Vec::new(), Vec::new(), Vec::new());
    view.status.counters.clear();
    view
}

/// Names and texts from outside with markup and control characters.
pub fn hostile() -> View {
    let mut view = oversize();
    let evil = || HOSTILE.to_owned();
    view.status.agent.kernel = evil();
    view.status.mode.by = evil();
    view.status.policy.reload_error = Some(evil());
    view.last_events.push(line("existing_namespace", HOSTILE));
    view.programs.push(ProgramState { program: evil(), attached: false, reason: Some(evil()) });
    view.alerts[0].receiver = evil();
    if let Ok(scan) = &mut view.scan {
        for assessed in &mut scan.namespaces {
            assessed.namespace.name = format!("{}{HOSTILE}", assessed.namespace.name);
            assessed.assessment.detail.push_str(HOSTILE);
        }
    }
    view
}

fn line(kind: &'static str, text: &str) -> EventLine {
    EventLine { kind, text: format!("2026-01-02T03:04:05Z {text}") }
}

fn programs() -> Vec<ProgramState> {
    let attached = |name: &str| ProgramState { program: name.to_owned(), attached: true, reason: None };
    ["guard", "setup_enter", "setup_exit"].map(attached).into()
}

pub fn status() -> Status {
    let then: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    Status {
        agent: AgentStatus {
            pid: 4711,
            version: "0.1.0".to_owned(),
            started: then,
            kernel: "6.1.0-50-amd64".to_owned(),
            observing: true,
            reason: None,
            phase: AgentPhase::Running,
            retry_in_seconds: None,
            ready: true,
            uptime_seconds: 90061,
            memory: Some(MemoryStatus { anonymous_bytes: 3 << 20, file_bytes: 6 << 20, shared_bytes: 0 }),
        },
        mode: ModeStatus {
            mode: Mode::Audit,
            since: then,
            source: ModeSource::Configuration,
            configured_mode: Mode::Audit,
            by: "the configuration".to_owned(),
            reason: None,
        },
        guard: GuardStatus { attached: true, pinned: false, armed: true, judges: true, reason: None },
        enforcement_effective: false,
        ineffective_reason: Some("the mode is audit".to_owned()),
        self_test: Some(SelfTestStatus { at: then, how: "the guard ran when a cgroup was made".to_owned() }),
        max_struct_page: MaxStructPageStatus { max_struct_page_size_bytes: Some(64), ..MaxStructPageStatus::default() },
        totals: None,
        device_totals: None,
        memmap_return: MemmapReturnStatus {
            verdict: MemmapVerdict::Returned,
            evidence: Some(MemmapEvidence::Code),
            ..MemmapReturnStatus::default()
        },
        policy: PolicyStatus {
            hash: "e3b0c44298fc1c14".to_owned(),
            number: 1,
            file: Some("/etc/pfnwatch/pfnwatch.toml".to_owned()),
            since: then,
            reload_error: None,
            aligns: 1,
            parts_per_million: 1000,
            reference_struct_page_bytes: 64,
        },
        exemptions: Vec::new(),
        skipped_exemptions: Vec::new(),
        programs: programs(),
        records: RecordTotals { received: 12, ..RecordTotals::default() },
        last_event: None,
        web: WebStatus { address: Some("127.0.0.1:9464".to_owned()), problem: None },
        probe_misses: BTreeMap::new(),
        counters: Counter::ALL.iter().map(|counter| (counter.name().to_owned(), 1)).collect(),
        store_error: None,
        evictions: BTreeMap::from([("reported_blocks".to_owned(), 2)]),
        on_agent_exit: OnAgentExit::Release,
        pins: Vec::new(),
        degraded: Vec::new(),
    }
}
