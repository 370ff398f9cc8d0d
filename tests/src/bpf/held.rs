//! Everything by which an eBPF program could stay.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{ObjectKind, ids};
use crate::wait;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldObjects {
    pub programs: Vec<u32>,
    pub maps: Vec<u32>,
    pub links: Vec<u32>,
    pub kprobes: Vec<String>,
    pub trampolines: Vec<String>,
}

impl HeldObjects {
    pub fn look() -> Result<Self> {
        Ok(Self {
            programs: ids(ObjectKind::Programs)?,
            maps: ids(ObjectKind::Maps)?,
            links: ids(ObjectKind::Links)?,
            // `ffffffffc0… k nvdimm_bus_probe+0x0 [libnvdimm] [FTRACE]`
            kprobes: functions("/sys/kernel/debug/kprobes/list", 2)?,
            // `really_probe (3) R D   tramp: …`
            trampolines: functions("/sys/kernel/tracing/enabled_functions", 0)?,
        })
    }

    /// What was not there before. Ids suffice: the kernel reuses none until it has assigned all (`idr_alloc_cyclic`,
    /// kernel/bpf/syscall.c).
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        Self {
            programs: added(&self.programs, &before.programs),
            maps: added(&self.maps, &before.maps),
            links: added(&self.links, &before.links),
            kprobes: added(&self.kprobes, &before.kprobes),
            trampolines: added(&self.trampolines, &before.trampolines),
        }
    }

    /// Waits until nothing is left that was not there before: the kernel frees an unreferenced object once no CPU can
    /// be inside of it. Objects that were on their way out before may have gone.
    pub fn until_nothing_beyond(before: &Self, limit: Duration) -> Result<()> {
        let beyond = || Self::look().map(|now| now.beyond(before));
        wait::until("nothing left in the kernel", limit, || beyond().ok().filter(|left| *left == Self::default()))
            .map(drop)
            .with_context(|| format!("left: {:?}", beyond()))
    }
}

fn functions(file: &str, word: usize) -> Result<Vec<String>> {
    let list = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let function = |line: &str| Some(line.split_whitespace().nth(word)?.split('+').next()?.to_owned());
    let mut functions: Vec<String> = list.lines().filter_map(function).collect();
    functions.sort();
    Ok(functions)
}

fn added<T: Clone + PartialEq>(now: &[T], before: &[T]) -> Vec<T> {
    now.iter().filter(|held| !before.contains(held)).cloned().collect()
}
