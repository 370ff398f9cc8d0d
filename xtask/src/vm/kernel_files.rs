//! `pfnwatch kernel` on this host, over kernels that do not run here: the packages that guests boot, and the rebuilt
//! modules by their files alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Tally;
use super::kernel::{self, Flavour, Kernel};
use super::variant::{Variant, Variants};
use crate::debian::{NotAvailable, Suite};
use guest::kernel_lines::{Lines, loses_memmap};

/// Where these checks are among the tests' names.
const PREFIX: &str = "kernel_files";
const ARM64: &str = "arm64_says_64";
/// `sizeof(struct page)` of Debian's kernels.
const STRUCT_PAGE_BYTES: u64 = 64;

/// What is in the code of a variant: MAX_STRUCT_PAGE_SIZE, and what is reserved for a page with the parameter set, for
/// a module that has it; both in bytes.
fn expected(variant: Variant) -> (u64, Option<u64>) {
    match variant {
        Variant::Stock => (64, None),
        Variant::Max128 => (128, None),
        Variant::Max32 => (32, None),
        Variant::Max32Override => (32, Some(STRUCT_PAGE_BYTES)),
    }
}

pub(super) fn are_wanted(filter: &[String]) -> bool {
    Variant::ALL.iter().any(|variant| is_wanted(variant.name(), filter))
}

fn is_wanted(name: &str, filter: &[String]) -> bool {
    let name = format!("{PREFIX}::{name}");
    filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()))
}

/// What the kernel's code shows; `None` for a form of the code that is not recognized, which LIMITATIONS.md names.
fn memmap_in_dram(kernel: &Kernel, affected: bool) -> Option<&'static str> {
    Lines::Observing.contain(&kernel.line).then_some(if affected { "not_returned" } else { "returned" })
}

pub(super) fn check_debian(kernel: &Kernel, agent: &Path, filter: &[String], tally: &mut Tally) {
    check(("debian_says_64", &kernel.line), filter, tally, || {
        let affected = loses_memmap(&kernel.release);
        let json = judge(agent, &kernel.packages, if affected { 3 } else { 0 })?;
        let is_sound = sizes(&json) == (Some(64), None)
            && json.get("memmap_in_dram").and_then(Value::as_str) == memmap_in_dram(kernel, affected)
            && json.get("release").and_then(Value::as_str) == Some(&kernel.release)
            && json.get("struct_page_bytes").and_then(Value::as_u64) == Some(STRUCT_PAGE_BYTES);
        ensure!(is_sound, "{json}");
        Ok(())
    });
}

pub(super) fn check_variants(variants: &Variants, agent: &Path, filter: &[String], tally: &mut Tally) {
    for variant in Variant::ALL {
        check((variant.name(), &variants.kernel.line), filter, tally, || {
            // Exit code 3 is a finding: the regression alone is one.
            let json = judge(agent, &[variants.module(variant)], if variant == Variant::Max128 { 3 } else { 0 })?;
            let (max, overridden) = expected(variant);
            ensure!(sizes(&json) == (Some(max), overridden), "not {max} and {overridden:?}: {json}");
            Ok(())
        });
    }
}

/// The newest kernels of a line for arm64, with pages of 4 and of 16 KiB, which do not run here.
pub(super) fn check_arm64(line: &str, agent: &Path, filter: &[String], tally: &mut Tally) -> Result<()> {
    if !is_wanted(ARM64, filter) {
        return Ok(());
    }
    let fetch = |flavour: Flavour| {
        let choose = |suite: &Suite| {
            let images = kernel::images(suite, line, flavour)?;
            let gone = || NotAvailable(format!("Debian suite {} holds no kernel {line} for arm64", suite.name));
            images.into_iter().next().ok_or_else(|| gone().into())
        };
        kernel::suite(line, flavour.architecture)?.fetch(choose)
    };
    for flavour in kernel::ARM64 {
        let Some((package, deb)) = tally.available(&format!("{line}{}", flavour.suffix), fetch(flavour))? else {
            continue;
        };
        check((ARM64, line), filter, tally, || {
            let json = judge(agent, &[deb], 0)?;
            let is_sound = sizes(&json) == (Some(64), None)
                && json.get("release").and_then(Value::as_str) == Some(&kernel::release_of(&package.name))
                && json.get("struct_page_bytes").and_then(Value::as_u64) == Some(STRUCT_PAGE_BYTES)
                && json.pointer("/evidence/0/shift_address").is_some_and(Value::is_u64);
            ensure!(is_sound, "{json}");
            Ok(())
        });
    }
    Ok(())
}

fn check((name, line): (&str, &str), filter: &[String], tally: &mut Tally, act: impl FnOnce() -> Result<()>) {
    if !is_wanted(name, filter) {
        return;
    }
    let start = Instant::now();
    let outcome = act();
    let seconds = format!("{:.1} s", start.elapsed().as_secs_f32());
    match outcome {
        Ok(()) => {
            tally.passed += 1;
            println!("{line:>5}  ok      {PREFIX}::{name}  {seconds}");
        }
        Err(error) => tally.fail(format!("{line:>5}  FAILED  {PREFIX}::{name}  {seconds}: {error:#}")),
    }
}

fn judge(agent: &Path, files: &[PathBuf], code: i32) -> Result<Value> {
    let mut command = Command::new(agent);
    command.args(["kernel", "--format", "json"]).args(files).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", agent.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, not {code}: {text}{errors}", output.status);
    let json: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    let kernels = json.get("kernels").and_then(Value::as_array).context("no kernels")?;
    ensure!(kernels.len() == 1, "{} kernels in one: {text}", kernels.len());
    kernels.first().cloned().context("no kernel")
}

fn sizes(kernel: &Value) -> (Option<u64>, Option<u64>) {
    let number = |key: &str| kernel.get(key).and_then(Value::as_u64);
    (number("max_struct_page_bytes"), number("overridden_struct_page_bytes"))
}
