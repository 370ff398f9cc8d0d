//! An agent's end of the control socket, with a state of its own in the place of a guard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use pfnwatch::agent::control_server::{PendingRequest, Server};
use pfnwatch::model::capacity::{AcceptError, BaselineScope, Cost};
use pfnwatch::model::control::{
    AcceptedBaseline, Allow, Allowed, ErrorResponse, InfoBlockResponse, ModeResponse, Released, Request, Response,
    Revoked,
};
use pfnwatch::model::event::{LostRecords, MaxStructPageStatus, ProgramState, RecordTotals};
use pfnwatch::model::policy::{ExemptionSubject, Mode};
use pfnwatch::model::status::{
    AgentStatus, ExemptionOrigin, ExemptionStatus, ModeStatus, PolicyStatus, SkippedExemptionStatus, Status,
};
use pfnwatch::model::timestamp::Timestamp;
use pfnwatch_common::InfoBlock;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::view;

pub(crate) struct Agent {
    folder: TempDir,
    broken: Arc<AtomicBool>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/control.sock");
        let (end, ended) = oneshot::channel();
        let (ready, wait) = std::sync::mpsc::channel();
        let broken = Arc::new(AtomicBool::new(false));
        let state = State { status: status(), broken: broken.clone(), next: 1 };
        let path = socket.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(&path, state, ended, ready));
        });
        wait.recv().unwrap();
        Self { folder, broken, end: Some(end), thread: Some(thread), socket }
    }

    /// A scratch folder; everything but the socket may be a sysfs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The guard does not fire any more.
    pub(crate) fn break_enforcement(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct State {
    status: Status,
    broken: Arc<AtomicBool>,
    next: u64,
}

async fn serve(path: &Path, mut state: State, mut ended: oneshot::Receiver<()>, ready: std::sync::mpsc::Sender<()>) {
    let mut server = Server::listen(path).unwrap();
    ready.send(()).unwrap();
    loop {
        tokio::select! {
            call = server.next() => state.handle(call),
            _ = &mut ended => return,
        }
    }
}

impl State {
    fn handle(&mut self, call: PendingRequest) {
        let by = call.peer.to_string();
        let reply = self.answer(call.request, by);
        call.responder.answer(reply);
    }

    fn answer(&mut self, request: Request, by: String) -> Result<Response, ErrorResponse> {
        let broken = self.broken.load(Ordering::SeqCst);
        self.status.enforcement_effective = !broken;
        self.status.ineffective_reason = broken.then(|| "`bpf` is not in the list".to_owned());
        match request {
            Request::Mode { mode: Mode::Enforce, .. } if broken => {
                Err(ErrorResponse::unsupported("`bpf` is not in the kernel's list of security modules: add it to lsm="))
            }
            Request::Mode { mode, reason } => {
                let previous_mode = std::mem::replace(&mut self.status.mode.mode, mode);
                (self.status.mode.by, self.status.mode.reason) = (by, reason);
                Ok(Response::Mode(ModeResponse { mode, previous_mode }))
            }
            Request::Allow(allow) => Ok(Response::Allowed(self.allow(allow, by))),
            Request::Revoke { id } => {
                let before = self.status.exemptions.len();
                self.status.exemptions.retain(|exemption| exemption.id != id);
                let found = self.status.exemptions.len() < before;
                if found { Ok(Response::Revoked(Revoked { id })) } else { Err(ErrorResponse::usage("there is none")) }
            }
            Request::Status => Ok(Response::Status(Box::new(self.status.clone()))),
            Request::Alerts => Ok(Response::Alerts(Box::default())),
            Request::Release => Ok(Response::Released(Released {
                removed: vec!["/sys/fs/bpf/pfnwatch/v3/guard".to_owned()],
                still_guarding: true,
            })),
            Request::AcceptBaseline { scope: BaselineScope::Host, reason } => {
                Ok(Response::BaselineAccepted(Box::new(accepted(&reason))))
            }
            Request::AcceptBaseline { scope: BaselineScope::Namespace(which), .. } => {
                Err(ErrorResponse::usage(AcceptError::NoRegression(which).to_string()))
            }
            Request::Block { namespace } if namespace == "namespace0.0" => {
                Ok(Response::Block(Box::new(block_response(namespace))))
            }
            Request::Block { namespace } => Err(ErrorResponse::error(format!("no info block of {namespace} is saved"))),
        }
    }

    fn allow(&mut self, allow: Allow, by: String) -> Allowed {
        let Allow { subject, once, for_seconds, reason } = allow;
        let id = self.next;
        self.next += 1;
        let until = for_seconds.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
        let until = until.map(Timestamp::from);
        self.status.exemptions.push(ExemptionStatus {
            id,
            origin: ExemptionOrigin::Allow,
            subject,
            region: None,
            once,
            until,
            remaining_seconds: for_seconds,
            reason,
            by,
        });
        Allowed { id, subject, until: until.map(|until| until.to_string()) }
    }
}

/// What a kernel with 128 writes into a namespace of 1 GiB.
pub(crate) fn saved_block() -> Vec<u8> {
    let block = InfoBlock { parent_uuid: [0; 16], ..InfoBlock::sample(34 << 20, 128) };
    block.encode().to_vec()
}

fn block_response(namespace: String) -> InfoBlockResponse {
    InfoBlockResponse {
        namespace,
        namespace_uuid: None,
        start_address: 4 << 30,
        size_bytes: Some(1 << 30),
        seen: "2026-01-02T03:04:05Z".to_owned(),
        restore_commands: vec!["dd if=FILE of=/dev/pmem0 bs=4096 seek=1 count=1 conv=fsync".to_owned()],
        block: saved_block().into_boxed_slice().try_into().unwrap(),
    }
}

/// The status of [`view::healthy`] with what tests of the commands look for.
fn status() -> Status {
    let healthy = view::status();
    Status {
        agent: AgentStatus {
            pid: std::process::id(),
            kernel: "6.1.0".to_owned(),
            uptime_seconds: 3661,
            ..healthy.agent
        },
        mode: ModeStatus { by: "the policy".to_owned(), ..healthy.mode },
        max_struct_page: MaxStructPageStatus {
            max_struct_page_size_bytes: Some(128),
            evidence: vec!["running code".to_owned()],
            conflicting_evidence: Vec::new(),
            problems: Vec::new(),
        },
        policy: PolicyStatus { file: None, ..healthy.policy },
        skipped_exemptions: vec![SkippedExemptionStatus {
            subject: ExemptionSubject::RegionStart(4 << 30),
            reason: "a box that is gone".to_owned(),
            skip_reason: "there is no such region on this host now".to_owned(),
        }],
        programs: vec![
            ProgramState { program: "guard".to_owned(), attached: true, reason: None },
            ProgramState {
                program: "uuid_store".to_owned(),
                attached: false,
                reason: Some("no such function".to_owned()),
            },
        ],
        records: RecordTotals {
            received: 7,
            decode_errors: 0,
            missed: LostRecords { lost: 2, ..LostRecords::default() },
        },
        last_event: Some("2026-01-02T03:04:05Z BLIND    reason 2".to_owned()),
        counters: [("judged", 3), ("denied", 1)].map(|(name, count)| (name.to_owned(), count)).into(),
        store_error: Some("no space left".to_owned()),
        evictions: BTreeMap::from([("boots".to_owned(), 0), ("reported_blocks".to_owned(), 3)]),
        ..healthy
    }
}

fn accepted(reason: &str) -> AcceptedBaseline {
    let cost = |kernel: &str, gib: u64| Cost {
        kernel: kernel.to_owned(),
        seen: "2026-01-02T03:04:05Z".to_owned(),
        reservation_bytes: gib << 30,
        excess_bytes: 0,
        max_struct_page_size_bytes: None,
    };
    AcceptedBaseline {
        detail: format!("that it costs more ({reason})"),
        before: cost("6.0", 16),
        after: cost("6.1", 32),
    }
}
