//! The real agent over a scripted kernel, in a thread, for commands that ask it.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use pfnwatch::model::event::ProgramState;
use pfnwatch::model::status::Status;
use pfnwatch::model::store::BootRow;
use pfnwatch::os::control_client;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::{InfoBlock, superblock};

use super::kernel::{FakeKernel, Message, counters};
use super::run_agent::{Rig, Running};
use super::tree::{Pmem, Tree};

pub(crate) struct Agent {
    pub(crate) kernel: FakeKernel,
    running: Running,
    thread: Option<JoinHandle<()>>,
}

/// Of the region in the agent's sysfs.
pub(crate) const REGION_START: u64 = 4 << 30;

impl Agent {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// On a host that `prepare` has made.
    pub(crate) fn start_with(prepare: fn(&mut Rig)) -> Self {
        let kernel = FakeKernel::sound();
        kernel.set(|state| {
            state.max_struct_page = Some(128);
            state.counters = counters(Counter::Judged, 3);
            state.counters.set(Counter::Denied, 1);
            let program = |program: &str, reason: Option<&str>| ProgramState {
                program: program.to_owned(),
                attached: reason.is_none(),
                reason: reason.map(str::to_owned),
            };
            state.programs = vec![program("guard", None), program("uuid_store", Some("no such function"))];
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        let scripted = kernel.clone();
        let thread = thread::spawn(move || {
            let (mut rig, signals) = Rig::new(scripted, "");
            let tree = Tree::new(rig.folder.path()).unwrap();
            tree.region(0, REGION_START, 64 << 30).unwrap();
            prepare(&mut rig);
            sender.send(rig.running()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(rig.run(signals)).unwrap();
        });
        let running = receiver.recv().unwrap();
        let agent = Self { kernel, running, thread: Some(thread) };
        agent.wait(|agent| agent.socket().exists() && control_client::status(agent.socket()).is_ok());
        agent
    }

    pub(crate) fn wait(&self, mut done: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "the agent does not get there");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The folder of everything; it is a sysfs.
    pub(crate) fn folder(&self) -> &Path {
        &self.running.folder
    }

    pub(crate) fn socket(&self) -> &PathBuf {
        &self.running.socket
    }

    pub(crate) fn status(&self) -> Status {
        control_client::status(self.socket()).unwrap()
    }

    /// Another configuration, in force.
    pub(crate) fn configure(&self, config: &str) {
        let before = self.status().policy.hash;
        self.running.configure(config);
        self.wait(|agent| agent.status().policy.hash != before);
    }

    /// A record, and its processing.
    pub(crate) fn record(&self, record: &[u8]) {
        let received = || self.status().records.received;
        let before = received();
        self.kernel.send(Message::Record(Bytes::copy_from_slice(record)));
        self.wait(|_| received() > before);
    }

    /// The kernel's side has lost so many records.
    pub(crate) fn lose(&self, lost: u64) {
        self.kernel.set(|state| state.counters.set(Counter::Lost, lost));
        self.advance(Duration::from_secs(30));
        self.wait(|agent| agent.status().records.missed.lost == lost);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.running.clock.advance(by);
    }

    /// The guard does not run any more, and the agent has seen that.
    pub(crate) fn break_enforcement(&self) {
        self.kernel.set(|state| state.self_test_error = Some("`bpf` is not in the list".to_owned()));
        self.advance(Duration::from_secs(300));
        self.wait(|agent| !agent.status().guard.judges);
    }
}

/// What a kernel with 128 writes into a namespace of 1 GiB.
pub(crate) fn saved_block() -> [u8; superblock::SIZE] {
    // The namespace uuid of the tree's first namespace.
    let parent_uuid = [0, 0, 0, 1, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
    InfoBlock { parent_uuid, ..InfoBlock::sample(34 << 20, 128) }.encode()
}

/// A namespace with that block.
pub(crate) fn with_namespace(rig: &mut Rig) {
    rig.kernel.set(|state| state.info_blocks.insert("namespace0.0".to_owned(), saved_block()));
    let pmem = Pmem { struct_page: 128, size: 1 << 30, ..Pmem::default() };
    Tree::new(rig.folder.path()).unwrap().namespace(&pmem).unwrap();
}

/// An earlier boot of a kernel that reserved half as much.
pub(crate) fn with_cheaper_boot(rig: &mut Rig) {
    rig.store = Some(rig.folder.path().join("store.db"));
    rig.boots = vec![cheaper_boot()];
}

/// An event store that takes no events: a folder is in its place.
pub(crate) fn with_broken_store(rig: &mut Rig) {
    rig.store = Some(rig.folder.path().to_owned());
}

/// A kernel before this one, which reserved half as much.
fn cheaper_boot() -> BootRow {
    BootRow {
        boot_id: "an earlier boot".to_owned(),
        module_build_id: None,
        release: "6.0.12".to_owned(),
        struct_page_size: Some(64),
        max_struct_page_size: Some(64),
        memmap_returned: None,
        evidence: Vec::new(),
        first_seen: UNIX_EPOCH,
        last_seen: UNIX_EPOCH,
        superseded: false,
        accepted: None,
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.running.end();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
