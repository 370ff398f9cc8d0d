//! The real agent over a scripted kernel: its options, its log, and the requests of a peer.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pfnwatch::agent::{Agent, Options};
use pfnwatch::config::ConfigArgs;
use pfnwatch::export::event_log::{Log, LogFormat};
use pfnwatch::model::kernel::KernelFacts;
use pfnwatch::model::store::{BootRow, Settings};
use pfnwatch::model::web_config::WebConfig;
use pfnwatch::os::paths::Paths;
use pfnwatch::os::signals::{Signal, Signals};
use pfnwatch::store::EventStore;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

use super::kernel::{FakeClock, FakeKernel};
use super::tree::Tree;

/// All around an agent that runs in another thread.
pub struct Running {
    pub folder: PathBuf,
    pub socket: PathBuf,
    pub clock: FakeClock,
    signals: UnboundedSender<Signal>,
}

impl Running {
    pub fn configure(&self, config: &str) {
        configure(&self.folder, config);
        self.signals.send(Signal::Reload).unwrap();
    }

    pub fn end(&self) {
        let _ = self.signals.send(Signal::End("SIGTERM"));
    }
}

/// All around an agent that a test runs.
pub struct Rig {
    pub folder: TempDir,
    pub kernel: FakeKernel,
    pub clock: FakeClock,
    pub log: SharedLog,
    /// The file of the event store, if there is one.
    pub store: Option<PathBuf>,
    /// Earlier boots that the event store has.
    pub boots: Vec<BootRow>,
    signals: UnboundedSender<Signal>,
}

#[derive(Clone, Default)]
pub struct SharedLog(Arc<Mutex<Vec<u8>>>);

impl Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SharedLog {
    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(text).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Rig {
    /// A rig, and the signals for [`Self::run`]. The sysfs is in `folder`, and a region may be made there.
    pub fn new(kernel: FakeKernel, config: &str) -> (Self, Signals) {
        let folder = tempfile::tempdir().unwrap();
        Tree::new(folder.path()).unwrap();
        let (sender, signals) = Signals::of_caller();
        let boot_id = folder.path().join("proc/sys/kernel/random/boot_id");
        fs::create_dir_all(boot_id.parent().unwrap()).unwrap();
        fs::write(boot_id, "this boot\n").unwrap();
        let (clock, log) = (FakeClock::default(), SharedLog::default());
        let rig = Self { folder, kernel, clock, log, store: None, boots: Vec::new(), signals: sender };
        rig.configure(config);
        (rig, signals)
    }

    /// What another thread needs.
    pub fn running(&self) -> Running {
        let (folder, socket) = (self.folder.path().to_owned(), self.socket());
        Running { folder, socket, clock: self.clock.clone(), signals: self.signals.clone() }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control.sock")
    }

    pub fn configure(&self, config: &str) {
        configure(self.folder.path(), config);
    }

    pub fn reload(&self) {
        self.signals.send(Signal::Reload).unwrap();
    }

    pub fn end(&self) {
        self.signals.send(Signal::End("SIGTERM")).unwrap();
    }

    /// The agent's loop, until [`Self::end`].
    pub async fn run(&self, signals: Signals) -> anyhow::Result<()> {
        let config = ConfigArgs::named(self.folder.path().join("pfnwatch.toml"), None);
        let loaded = config.load()?;
        let options = options(self.folder.path(), self.socket(), config, loaded.config.requires_effective());
        let facts = KernelFacts {
            release: "6.1.0".to_owned(),
            page_size: 4096,
            struct_page_size: Some(64),
            deduplicates: Some(true),
            may_lose_memmap: false,
            allows_empty: None,
            aligns: None,
        };
        let log = Log::new(LogFormat::Json, self.log.clone());
        let (sensor, clock) = (self.kernel.sensor(), Rc::new(self.clock.clone()));
        Agent::new(options, loaded.config.policy(), facts, self.store(), log, sensor, clock).run(signals).await
    }
}

impl Rig {
    fn store(&self) -> EventStore {
        let settings = Settings { file: self.store.clone(), ..Settings::default() };
        let mut store = EventStore::open(settings, |_| String::new());
        if !self.boots.is_empty() {
            store.save_boots(&self.boots).unwrap();
        }
        store
    }
}

fn configure(folder: &Path, config: &str) {
    fs::write(folder.join("pfnwatch.toml"), format!("[web]\nenabled = false\n{config}")).unwrap();
}

fn options(folder: &Path, control_socket: PathBuf, config: ConfigArgs, require_effective: bool) -> Options {
    Options {
        paths: Paths { sysfs: folder.to_owned(), procfs: folder.join("proc") },
        btf_dir: None,
        ring_bytes: 4096,
        debug: false,
        config,
        config_hash: "e3b0c44298fc1c14".to_owned(),
        config_files: None,
        web: WebConfig { enabled: false, ..WebConfig::default() },
        control_socket,
        self_test_interval: Duration::from_secs(300),
        known_blocks: 64,
        require_effective,
        guard_twice: false,
        alerts: pfnwatch::model::alert::AlertsPolicy::default(),
    }
}
