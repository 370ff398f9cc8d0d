//! The guest's side of `cargo xtask bench ndctl`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Port;
use crate::agent::{Agent, PROGRAM};
use crate::bench::cost::Cost;
use crate::bench::{ScanRun, Scanner};
use crate::creation::{self, Mode, NamespaceSpec};
use crate::report::Report;
use crate::{pfnwatch, regions};

/// The last is what the bench's NVDIMM holds.
const NAMESPACES: [u64; 3] = [10, 64, 240];
/// The least that the kernel makes.
const NAMESPACE_BYTES: u64 = 16 << 20;
/// In a guest that counts instructions one run is like the next.
const RUNS: usize = 3;
const SCAN: &[&str] = &["scan", "--format", "json"];
const LOOKERS: [(Scanner, &str, &[&str]); 3] = [
    (Scanner::Scan, PROGRAM, SCAN),
    (Scanner::WithoutEbpf, PROGRAM, &["scan", "--format", "json", "--without-ebpf"]),
    (Scanner::Ndctl, "/bin/ndctl", &["list", "-NuX"]),
];

pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    port.send(&Report::Ready { release, tests: 1 });
    let region = regions::fresh_one()?;
    let wanted = NamespaceSpec::new(&region, Mode::Fsdax, NAMESPACE_BYTES);
    let mut made = 0;
    for namespaces in NAMESPACES {
        port.send(&Report::Started { name: format!("{namespaces} namespaces") });
        for _ in made..namespaces {
            creation::create(&wanted)?;
        }
        made = namespaces;
        // A quick answer that leaves something out is none.
        let found = pfnwatch::scan(0)?.get("namespaces").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(u64::try_from(found)? == namespaces, "a scan found {found} of {namespaces} namespaces");
        for (looker, program, arguments) in LOOKERS {
            look(port, looker, namespaces, program, arguments)?;
        }
        let mut agent = Agent::start(&[])?;
        look(port, Scanner::BesideAgent, namespaces, PROGRAM, SCAN)?;
        agent.stop()?;
    }
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "bench ndctl".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
    Ok(())
}

fn look(port: &mut Port, looker: Scanner, namespaces: u64, program: &str, arguments: &[&str]) -> Result<()> {
    let command = || Cost::of(Command::new(program).args(arguments).stdout(Stdio::null()), &[0]);
    let cost = Cost::median_of(RUNS, command).with_context(|| format!("{looker:?}"))?;
    port.send(&Report::Looked(ScanRun { looker, namespaces, cost }));
    Ok(())
}
