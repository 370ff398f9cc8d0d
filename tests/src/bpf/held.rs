//! Everything by which an eBPF program could stay.

use std::fs;

use anyhow::{Context, Result};

use super::{Kind, ids};

/// What of it there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Ids of programs.
    pub programs: Vec<u32>,
    /// Ids of maps.
    pub maps: Vec<u32>,
    /// Ids of links.
    pub links: Vec<u32>,
    /// Names of the functions with a probe on them.
    pub kprobes: Vec<String>,
    /// Functions with a trampoline or a tracer on them.
    pub trampolines: String,
}

impl Held {
    /// Looks.
    pub fn look() -> Result<Self> {
        let read = |file: &str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
        let probes = read("/sys/kernel/debug/kprobes/list")?;
        // `ffffffffc0… k nvdimm_bus_probe+0x0 [libnvdimm] [FTRACE]`
        let function = |line: &str| Some(line.split_whitespace().nth(2)?.split('+').next()?.to_owned());
        let mut kprobes: Vec<String> = probes.lines().filter_map(function).collect();
        kprobes.sort();
        Ok(Self {
            programs: ids(Kind::Programs)?,
            maps: ids(Kind::Maps)?,
            links: ids(Kind::Links)?,
            kprobes,
            trampolines: read("/sys/kernel/tracing/enabled_functions")?,
        })
    }
}
