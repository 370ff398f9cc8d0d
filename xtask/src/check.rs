//! What a change has to pass before anyone reads it: formatting, clippy for both targets, documentation, tidiness.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::{build_ebpf, deny, reproduce, setup, tidy, toolchain};

/// The limit of one by itself; `cargo xtask test` sets a shorter one.
const LIMIT: Duration = Duration::from_secs(1800);

/// A check of its own line in the tables.
pub(crate) struct Check {
    /// What the tables call it.
    pub(crate) name: &'static str,
    /// How many seconds it may take, from nothing and on a busy host.
    pub(crate) limit_s: u64,
    /// Whether it needs the eBPF object, as what compiles the agent does.
    pub(crate) needs_object: bool,
    /// Runs it; its findings go to the terminal.
    pub(crate) run: fn() -> Result<()>,
}

/// Every check, the quick ones first.
pub(crate) const ALL: [Check; 7] = [
    Check { name: "formatting", limit_s: 60, needs_object: false, run: formatting },
    Check { name: "tidy", limit_s: 90, needs_object: false, run: tidy::run },
    Check { name: "dependencies", limit_s: 300, needs_object: false, run: deny::run },
    Check { name: "eBPF object, built twice", limit_s: 300, needs_object: true, run: reproduce::run },
    Check { name: "clippy, eBPF target", limit_s: 240, needs_object: false, run: clippy_bpf },
    Check { name: "clippy, host", limit_s: 600, needs_object: true, run: clippy_host },
    Check { name: "documentation", limit_s: 240, needs_object: true, run: documentation },
];

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only compare the imports between the rooms of pfnwatch/src with xtask/rooms.toml
    #[arg(long)]
    imports: bool,
    /// Only check the rules of the source tree, which needs no other tool
    #[arg(long)]
    tidy: bool,
    /// Only remove the lines from xtask/words-exceptions.txt that are no longer in the tree
    #[arg(long)]
    shrink_words: bool,
}

/// Runs all checks, and reports at the end which of them failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.imports {
        return tidy::imports();
    }
    if args.tidy {
        return tidy::run();
    }
    if args.shrink_words {
        return tidy::shrink_words();
    }
    setup::for_build()?;
    // The agent embeds the object: clippy compiles it too.
    build_ebpf::run().context("the eBPF programs do not build")?;
    let failed: Vec<&str> = ALL.iter().filter(|check| !passes(check)).map(|check| check.name).collect();
    println!("{} checks passed, {} failed", ALL.len() - failed.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", failed.join("; "))) }
}

fn passes(check: &Check) -> bool {
    (check.run)().inspect_err(|error| eprintln!("{}: {error:#}", check.name)).is_ok()
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
    build_ebpf::cargo_for_bpf("clippy", &packages, &["--", "-D", "warnings"])?.limit(LIMIT).show()
}

fn documentation() -> Result<()> {
    let task = toolchain::workspace_task("doc", &["--no-deps", "--document-private-items"]);
    task.env("RUSTDOCFLAGS", "-D warnings").limit(LIMIT).show()
}
