//! `pfnwatch kernel` on this host, over kernels that do not run here: the packages that guests boot, and the rebuilt
//! modules by their files alone.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::kernel::Kernel;
use super::variant::{self, Variant};
use super::{Tally, not_run};

/// Where they stand among the tests' names.
const PREFIX: &str = "kernel_files";
/// `sizeof(struct page)` of Debian's kernels.
const STRUCT_PAGE_BYTES: u64 = 64;

/// What the code of a variant says: MAX_STRUCT_PAGE_SIZE, and what is reserved for a page with the parameter set, for
/// a module that has it; both in bytes.
fn expected(variant: Variant) -> (u64, Option<u64>) {
    match variant {
        Variant::Stock => (64, None),
        Variant::Max128 => (128, None),
        Variant::Max32 => (32, None),
        Variant::Max32Override => (32, Some(STRUCT_PAGE_BYTES)),
    }
}

/// Debian's kernels are sound.
pub(super) fn check_debian(kernel: &Kernel, agent: Option<&Path>, filter: &[String], tally: &mut Tally) {
    check("debian_says_64", kernel, agent, filter, tally, |agent| {
        let json = judge(agent, &kernel.packages, 0)?;
        ensure!(sizes(&json) == (Some(64), None), "{json}");
        ensure!(json.get("release").and_then(Value::as_str) == Some(&kernel.release), "{json}");
        let struct_page = json.get("struct_page_bytes").and_then(Value::as_u64);
        ensure!(struct_page == Some(STRUCT_PAGE_BYTES), "{json}");
        Ok(())
    });
}

/// Each variant is told by its file.
pub(super) fn check_variants(line: &str, agent: Option<&Path>, filter: &[String], tally: &mut Tally) -> Result<()> {
    if !Variant::ALL.iter().any(|variant| wanted(variant.name(), filter)) {
        return Ok(());
    }
    let variants = match variant::provide(line, &Variant::ALL)? {
        Ok(variants) => variants,
        Err(why) => {
            not_run(format!("{line} with another libnvdimm: {why}"), tally);
            return Ok(());
        }
    };
    for variant in Variant::ALL {
        check(variant.name(), &variants.kernel, agent, filter, tally, |agent| {
            // Exit code 3 is a finding: the regression alone is one.
            let code = if variant == Variant::Max128 { 3 } else { 0 };
            let json = judge(agent, &[variants.module(variant)], code)?;
            let (max, overridden) = expected(variant);
            ensure!(sizes(&json) == (Some(max), overridden), "not {max} and {overridden:?}: {json}");
            Ok(())
        });
    }
    Ok(())
}

fn wanted(name: &str, filter: &[String]) -> bool {
    let name = format!("{PREFIX}::{name}");
    filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()))
}

/// Runs one check, prints its outcome and counts it.
fn check(
    name: &str,
    kernel: &Kernel,
    agent: Option<&Path>,
    filter: &[String],
    tally: &mut Tally,
    act: impl FnOnce(&Path) -> Result<()>,
) {
    let Some(agent) = agent.filter(|_| wanted(name, filter)) else { return };
    let start = Instant::now();
    let outcome = act(agent);
    let seconds = format!("{:.1} s", start.elapsed().as_secs_f32());
    match outcome {
        Ok(()) => {
            tally.passed += 1;
            println!("{:>5}  ok      {PREFIX}::{name}  {seconds}", kernel.line);
        }
        Err(error) => {
            let failure = format!("{:>5}  FAILED  {PREFIX}::{name}  {seconds}: {error:#}", kernel.line);
            println!("{failure}");
            tally.failures.push(failure);
        }
    }
}

/// What pfnwatch says of the one kernel in these files.
fn judge(agent: &Path, files: &[impl AsRef<Path>], code: i32) -> Result<Value> {
    let mut command = Command::new(agent);
    command.args(["kernel", "--format", "json"]).args(files.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", agent.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, not {code}: {text}{errors}", output.status);
    let json: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    let kernels = json.get("kernels").and_then(Value::as_array).context("no kernels")?;
    ensure!(kernels.len() == 1, "{} kernels in one: {text}", kernels.len());
    kernels.first().cloned().context("no kernel")
}

/// MAX_STRUCT_PAGE_SIZE, and what the parameter would make of it.
fn sizes(kernel: &Value) -> (Option<u64>, Option<u64>) {
    let number = |key: &str| kernel.get(key).and_then(Value::as_u64);
    (number("max_struct_page_bytes"), number("overridden_struct_page_bytes"))
}
