//! What the host wants of a guest: a file in its initramfs.

use serde::{Deserialize, Serialize};

/// Where the orders lie in the guest.
pub const PATH: &str = "/etc/pfnwatch-orders.json";

/// The orders of one boot.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Orders {
    /// The kernel line that runs, such as `6.12`.
    pub line: String,
    /// The scenario (machine) whose tests are to run.
    pub scenario: String,
    /// Words of which one at least must be in a test's name; none means all.
    pub filters: Vec<String>,
    /// How long one test may take, in seconds.
    pub test_limit_s: u64,
    /// What is to be done.
    pub purpose: Purpose,
}

/// What a guest is booted for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The end-to-end tests.
    Tests,
    /// The end-to-end tests, as a service of a Debian under systemd.
    TestsUnderSystemd,
    /// The demo.
    Demo,
    /// The measurements of `bench guard`.
    BenchGuard,
    /// The measurements of `bench agent`.
    BenchAgent,
}

impl Orders {
    /// Whether the filters let a test of this name through.
    pub fn wants(&self, test: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| test.contains(word.as_str()))
    }
}
