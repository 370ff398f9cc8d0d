//! What `cargo xtask bench ndctl` measures in a guest: a real sysfs, and ndctl over it.

use serde::{Deserialize, Serialize};

use super::cost::Cost;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scanner {
    /// `pfnwatch scan`, which has the kernel show the info block of each enabled namespace.
    Scan,
    /// `pfnwatch scan --without-ebpf`.
    WithoutEbpf,
    /// `ndctl list -NuX`, which reads sysfs alone.
    Ndctl,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct ScanRun {
    pub looker: Scanner,
    pub namespaces: u64,
    pub cost: Cost,
}
