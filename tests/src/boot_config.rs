//! What the host wants of a guest: a file in its initramfs.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub const PATH: &str = "/etc/pfnwatch-boot-config.json";

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BootConfig {
    /// The kernel line that runs, such as `6.12`.
    pub line: String,
    pub scenario: String,
    /// Words of which one at least must be in a test's name; none means all.
    pub filters: Vec<String>,
    /// How long one test may take, in seconds.
    pub test_limit_s: u64,
    pub purpose: Purpose,
    pub soak: Soak,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Soak {
    pub seconds: u64,
    pub seed: u64,
    /// How often a caller that never gives up tries a creation that is denied.
    pub creations: u32,
}

impl Soak {
    /// Of a run of all tests: one and a half minutes on each of two kernels, with the same seed.
    pub const DEFAULT: Self = Self { seconds: 90, seed: 1, creations: 300 };
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Tests,
    TestsUnderSystemd,
    Demo,
    DemoMemmapReturn,
    BenchGuard,
    BenchAgent,
    BenchNdctl,
}

impl BootConfig {
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
        serde_json::from_str(&text).with_context(|| format!("{PATH} is no order"))
    }

    pub fn wants(&self, test: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| test.contains(word.as_str()))
    }
}
