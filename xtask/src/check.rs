//! What a change has to pass before anyone reads it: formatting, clippy for both targets, documentation, tidiness.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::architecture::Architecture;
use crate::{build_ebpf, deny, object, reproduce, tidy, toolchain};

/// The limit of one by itself; `cargo xtask test` sets a shorter one.
const LIMIT: Duration = Duration::from_secs(1800);

/// A check with a line of its own in the tables.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// How many seconds it may take, from nothing and on a busy host.
    pub(crate) limit_s: u64,
    /// Whether it needs the eBPF object, as what compiles the agent does.
    pub(crate) needs_object: bool,
    /// Whether it uses cargo's folder for the host; the others use that of the eBPF target, or none.
    pub(crate) on_host: bool,
    pub(crate) run: fn() -> Result<()>,
}

const fn check(name: &'static str, limit_s: u64, [needs_object, on_host]: [bool; 2], run: fn() -> Result<()>) -> Check {
    Check { name, limit_s, needs_object, on_host, run }
}

pub(crate) const ALL: [Check; 7] = [
    check("formatting", 60, [false, false], formatting),
    check("tidy", 90, [false, false], tidy::run),
    check("dependencies", 300, [false, false], deny::run),
    check("eBPF object, built twice", 300, [true, false], reproduce::run),
    check("clippy, eBPF target", 240, [false, false], clippy_bpf),
    check("clippy, host", 600, [true, true], clippy_host),
    check("documentation", 240, [true, true], documentation),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only compare the imports between the rooms of pfnwatch/src with xtask/rooms.toml
    #[arg(long)]
    imports: bool,
    /// Only check the rules of the source tree, which needs no other tool
    #[arg(long)]
    tidy: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.imports {
        return tidy::imports();
    }
    if args.tidy {
        return tidy::run();
    }
    // The agent embeds the object: clippy compiles it too.
    object().context("the eBPF programs do not build")?;
    let fails = |check: &&Check| (check.run)().inspect_err(|error| eprintln!("{}: {error:#}", check.name)).is_err();
    let failed: Vec<&str> = ALL.iter().filter(fails).map(|check| check.name).collect();
    println!("{} checks passed, {} failed", ALL.len() - failed.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", failed.join("; "))) }
}

fn formatting() -> Result<()> {
    toolchain::cargo_task(["fmt", "--all", "--check"]).show().context("remedy: cargo fmt --all")
}

fn clippy_host() -> Result<()> {
    // `--all-targets` leaves the end-to-end tests out, since plain `cargo test` must not run them.
    for targets in ["--all-targets", "--test e2e"] {
        let arguments: Vec<_> = targets.split(' ').chain(["--", "-D", "warnings"]).collect();
        toolchain::workspace_task("clippy", &arguments).limit(LIMIT).show()?;
    }
    Ok(())
}

fn clippy_bpf() -> Result<()> {
    let packages = ["--package", "pfnwatch-ebpf", "--package", "pfnwatch-common"];
    build_ebpf::cargo_for_bpf("clippy", Architecture::HOST, &packages, &["--", "-D", "warnings"])?.limit(LIMIT).show()
}

fn documentation() -> Result<()> {
    let task = toolchain::workspace_task("doc", &["--no-deps", "--document-private-items"]);
    task.env("RUSTDOCFLAGS", "-D warnings").limit(LIMIT).show()
}
