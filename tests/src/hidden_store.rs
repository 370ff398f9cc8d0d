//! A kprobe inside `nvdimm_setup_pfn`: a breakpoint, or the jump that the kernel makes of it a moment later, hides the instruction that
//! stores MAX_STRUCT_PAGE_SIZE.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kernel_lines::kernel_exit_code;
use crate::{agent, command};

const ENABLE: &str = "events/tests/inside/enable";

/// Sits on the instruction for as long as this lives.
pub struct HiddenStore {
    /// Where the instruction is.
    pub address: u64,
}

impl HiddenStore {
    /// libnvdimm must be loaded.
    pub fn hide() -> Result<Self> {
        let said = command::attempt(agent::PROGRAM, &["kernel", "--running", "--format", "json"])?;
        ensure!(said.code == Some(kernel_exit_code()?), "{said:?}");
        let report: Value = serde_json::from_str(&said.stdout).with_context(|| format!("no JSON: {said:?}"))?;
        let evidence = report.pointer("/kernels/0/evidence/0").context("no evidence")?;
        let is_running = evidence.get("source").is_some_and(|source| source == "running code");
        ensure!(is_running, "{report:#}");
        let address = evidence.get("store_address").and_then(Value::as_u64).context("no store")?;
        let symbols = fs::read_to_string("/proc/kallsyms")?;
        let symbol = symbols.lines().find(|line| line.contains(" nvdimm_setup_pfn\t")).context("no symbol")?;
        let start = u64::from_str_radix(symbol.split(' ').next().unwrap_or_default(), 16)?;
        trace("kprobe_events", &format!("p:tests/inside libnvdimm:nvdimm_setup_pfn+{:#x}\n", address - start))?;
        let hidden = Self { address };
        trace(ENABLE, "1")?;
        Ok(hidden)
    }
}

impl Drop for HiddenStore {
    fn drop(&mut self) {
        // With it left the next test that reads the code fails.
        let _ = trace(ENABLE, "0");
        // Opened so, the file loses all probes.
        let _ = trace("kprobe_events", "");
    }
}

fn trace(file: &str, text: &str) -> Result<()> {
    let path = format!("/sys/kernel/tracing/{file}");
    fs::write(&path, text).with_context(|| format!("cannot write {text:?} to {path}"))
}
