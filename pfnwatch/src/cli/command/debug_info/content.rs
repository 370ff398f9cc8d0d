//! What the archive contains. A part that cannot be had is replaced by the reason.

use std::fmt::Write as _;
use std::path::Path;

use super::{Args, child};
use crate::bpf::attach::{Settings, verify};
use crate::cli::command::events::restore_block::describe;
use crate::config::Config;
use crate::kernel::features::privileges::Privileges;
use crate::kernel::libnvdimm::{resolve_layouts, resolve_target};
use crate::kernel::programs::plan;
use crate::model::control::InfoBlockResponse;
use crate::os::kernel_log::{KMSG, KernelLog};
use crate::os::paths::Paths;
use crate::store::Reader;

/// A file of the archive.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) text: String,
}

/// Commands whose reports are in the archive: file, content, arguments.
const REPORTS: [(&str, &str, &[&str]); 8] = [
    ("version.txt", "the version of pfnwatch", &["--version"]),
    ("doctor.json", "what pfnwatch needs of this host, and what is there", &["doctor", "--format", "json"]),
    ("status.json", "the agent and its guard", &["status", "--format", "json"]),
    ("kernel.json", "the running kernel: evidence and known defects", &["kernel", "--running", "--format", "json"]),
    ("scan.json", "regions and namespaces with their verdicts", &["scan", "--format", "json"]),
    ("why.json", "what failed, and why", &["why", "--format", "json"]),
    ("config.toml", "the configuration with its origins, without secrets", &["config", "show", "--origin"]),
    ("events.jsonl", "the last 1000 events", &["events", "--limit", "1000", "--format", "json"]),
];

/// Words of lines of the kernel's log that are about persistent memory.
const LOG_WORDS: [&str; 8] = ["nvdimm", "nd_", "namespace", "pfn", "dax", "pmem", "nfit", "pfnwatch"];

pub(super) fn collect(args: &Args, paths: &Paths) -> anyhow::Result<Vec<File>> {
    let mut ends = String::new();
    let mut files: Vec<File> = REPORTS
        .iter()
        .map(|(name, what, words)| {
            let output = child::run(&arguments(args, paths, words));
            ends += &output.end;
            File { name, what, text: output.stdout }
        })
        .collect();
    let parts: [(&'static str, &'static str, anyhow::Result<String>); 4] = [
        ("blocks.json", "the saved info blocks", saved_blocks(args)),
        ("kernel-log.txt", "the kernel's messages about persistent memory", kernel_log(paths)),
        ("offsets.txt", "offsets of the kernel's structures, by its types", offsets(paths)),
        ("verifier.log", "what the kernel's verifier answers to each program", verifier_log(args, paths)),
    ];
    files.extend(parts.map(|(name, what, text)| File {
        name,
        what,
        text: text.unwrap_or_else(|error| format!("{error:#}\n")),
    }));
    files.push(File { name: "commands.txt", what: "how each command ended", text: ends });
    Ok(files)
}

/// With the options that the command takes of those that were given.
fn arguments(args: &Args, paths: &Paths, words: &[&str]) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut all = vec!["--path.sysfs".to_owned(), text(&paths.sysfs), "--path.procfs".to_owned(), text(&paths.procfs)];
    all.extend(words.iter().map(|&word| word.to_owned()));
    let command = words.first().copied().unwrap_or_default();
    if matches!(command, "scan" | "why" | "config" | "events") {
        all.extend(args.config.options());
    }
    if matches!(command, "why" | "events") {
        all.extend(args.store.options());
    }
    if matches!(command, "status" | "why") {
        all.extend(["--control-socket".to_owned(), text(&args.socket.path)]);
    }
    if command == "scan" && args.without_ebpf {
        all.push("--without-ebpf".to_owned());
    }
    all
}

fn saved_blocks(args: &Args) -> anyhow::Result<String> {
    let config: Config = args.config.read()?;
    let blocks = Reader::open(&args.store.file_in(&config)?)?.blocks()?;
    blocks.iter().map(|saved| describe(&InfoBlockResponse::from(saved))).collect()
}

fn kernel_log(paths: &Paths) -> anyhow::Result<String> {
    anyhow::ensure!(paths.is_own_sysfs(), "not this host's sysfs");
    let log = KernelLog::read(Path::new(KMSG), |text| LOG_WORDS.iter().any(|word| text.contains(word)))?;
    let mut text = if log.truncated { "(older messages are gone)\n".to_owned() } else { String::new() };
    for record in log.records {
        // Writing to a String does not fail.
        let _ = writeln!(text, "[{:>12.6}] {}", record.since_boot.unwrap_or_default().as_secs_f64(), record.text);
    }
    Ok(text)
}

fn offsets(paths: &Paths) -> anyhow::Result<String> {
    let resolution = resolve_layouts(paths, None)?;
    let missing: String = resolution.missing.iter().map(|missing| format!("missing: {missing}\n")).collect();
    Ok(format!("{:#?}\n{missing}", resolution.layout))
}

fn verifier_log(args: &Args, paths: &Paths) -> anyhow::Result<String> {
    anyhow::ensure!(!args.without_ebpf, "not requested: --without-ebpf");
    anyhow::ensure!(paths.is_own_sysfs(), "not this host's sysfs");
    let lacking = Privileges::read(Path::new("/proc")).map(Privileges::missing).unwrap_or_default();
    anyhow::ensure!(lacking.is_empty(), "this process lacks {} (root has them)", lacking.join(" and "));
    let target = resolve_target(paths, None, None)?;
    let plan = plan(&target.resolution, target.runtime)?;
    let settings = Settings {
        layout: target.resolution.layout,
        functions: target.functions,
        debug: false,
        ring_bytes: 64 * 1024,
        preallocate: target.runtime.preallocates,
        reader: 0,
        guard_id: 0,
        known_blocks: 1,
        pins: None,
    };
    Ok(verify(&settings, &plan)?.join("\n") + "\n")
}
