//! What the agent was started with.

use std::path::PathBuf;
use std::time::Duration;

use crate::bpf::sensor::SensorOptions;
use crate::config::ConfigArgs;
use crate::model::alert::AlertsPolicy;
use crate::model::web_config::WebConfig;
use crate::os::paths::Paths;

/// How to observe.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where sysfs and procfs are.
    pub paths: Paths,
    /// Where BTF is taken from, if not from sysfs.
    pub btf_dir: Option<PathBuf>,
    /// Size of the ring buffer in bytes.
    pub ring_bytes: u32,
    /// Whether the eBPF programs write debug messages.
    pub debug: bool,
    /// Where the configuration is read again.
    pub config: ConfigArgs,
    /// Identifies the configuration in force: [`Loaded::hash`](crate::config::Loaded).
    pub config_hash: String,
    /// Its files, for people.
    pub config_files: Option<String>,
    /// Where the web server listens.
    pub web: WebConfig,
    /// Where the control socket is.
    pub control_socket: PathBuf,
    /// How often the guard's self-test runs.
    pub self_test_interval: Duration,
    /// How many info blocks the guard can know of.
    pub known_blocks: u32,
    pub guard_twice: bool,
    /// Whether the agent ends if enforcement is requested and not effective once it has attached.
    pub require_effective: bool,
    /// The receivers of alerts, until the configuration is read again.
    pub alerts: AlertsPolicy,
}

impl Options {
    /// The part that loading the programs takes.
    pub(super) fn sensor(&self) -> SensorOptions {
        let Self { paths, btf_dir, ring_bytes, debug, known_blocks, guard_twice, .. } = self.clone();
        SensorOptions { paths, btf_dir, ring_bytes, debug, known_blocks, guard_twice }
    }
}
