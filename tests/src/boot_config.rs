//! What the host wants of a guest: a file in its initramfs.

use std::fs;

use anyhow::{Context, Result};
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
    /// How the soak is to be, where it is among the tests.
    pub soak: Soak,
}

/// How long to go on, and by what chance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Soak {
    /// For so long.
    pub seconds: u64,
    /// What everything is chosen by.
    pub seed: u64,
}

impl Soak {
    /// Of a run of all tests: one and a half minutes on each of two kernels, the same each time.
    pub const DEFAULT: Self = Self { seconds: 90, seed: 1 };
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
    /// The measurements of `bench ndctl`.
    BenchNdctl,
}

impl Orders {
    /// Those that this guest was given.
    ///
    /// # Errors
    /// There are none.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
        serde_json::from_str(&text).with_context(|| format!("{PATH} is no order"))
    }

    /// Whether the filters let a test of this name through.
    pub fn wants(&self, test: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| test.contains(word.as_str()))
    }
}
