//! `pfnwatch debug-info`: one archive for a bug report.

mod anonymize;
mod child;
mod content;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use self::anonymize::Names;
use self::content::File;
use crate::cli::output::table::table;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::model::exit::Exit;
use crate::model::timestamp::Timestamp;
use crate::model::units::Bytes;
use crate::os::paths::Paths;

/// The folder in the archive.
const FOLDER: &str = "pfnwatch-debug-info";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch debug-info                    list the content, then write it to pfnwatch-debug-info-TIME.tar.gz here
  sudo pfnwatch debug-info --list             list the content only
  sudo pfnwatch debug-info --anonymize        host names and uuids are replaced, each by the same name throughout
  sudo pfnwatch debug-info --without-ebpf     load no eBPF program: without the verifier's log

It reads what the other commands read, and changes nothing. Of the configuration, what follows the host of a URL is left out. Names of \
processes, cgroups, files and namespaces stay with --anonymize, too: look at the archive before you send it.

Exit codes: 0 success; 1 error; 2 wrong usage.")]
pub struct Args {
    /// Write to FILE, which must not exist
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List the content, and write nothing
    #[arg(long, conflicts_with = "output")]
    list: bool,
    /// Replace host names and uuids
    #[arg(long)]
    anonymize: bool,
    /// Load no eBPF program
    #[arg(long)]
    without_ebpf: bool,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let now = SystemTime::now();
    let mut files = content::collect(args, paths)?;
    if args.anonymize {
        let name = nix::unistd::gethostname().context("the name of this host")?;
        anonymize(&mut files, Names::of_host(&name.to_string_lossy()));
    }
    terminal::print(&listing(&files))?;
    if !args.list {
        let path = args.output.clone().unwrap_or_else(|| default_path(now));
        write(&path, &files, now).with_context(|| format!("writing {}", path.display()))?;
        terminal::print(&format!("\nwritten to {}\n", path.display()))?;
    }
    Ok(Exit::Success)
}

fn default_path(now: SystemTime) -> PathBuf {
    let time = Timestamp::from(now).to_string().replace(':', "");
    PathBuf::from(format!("pfnwatch-debug-info-{time}.tar.gz"))
}

fn anonymize(files: &mut [File], mut names: Names) {
    for file in files {
        file.text = names.replace(&file.text);
    }
}

fn listing(files: &[File]) -> String {
    let mut listing = table(&["FILE", "SIZE", "CONTENT"], &[1]);
    listing.add_rows(
        files
            .iter()
            .map(|file| [file.name.to_owned(), Bytes(file.text.len() as u64).to_string(), file.what.to_owned()]),
    );
    format!("{listing}\n")
}

/// Only its owner may read it.
fn write(path: &Path, files: &[File], now: SystemTime) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut packed = GzEncoder::new(file, Compression::default());
    pack(&mut packed, files, now)?;
    packed.finish()?.sync_all()?;
    Ok(())
}

fn pack(to: impl Write, files: &[File], now: SystemTime) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs());
        archive.append_data(&mut header, format!("{FOLDER}/{}", file.name), file.text.as_bytes())?;
    }
    archive.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_archive_has_what_the_list_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        let text = "node7 6ee5c199-bbe8-42f6-9ea1-20b61fde34a7".to_owned();
        let mut files =
            [File { name: "a.txt", what: "a", text }, File { name: "b.txt", what: "b", text: String::new() }];
        anonymize(&mut files, Names::of_host("node7"));
        write(&path, &files, UNIX_EPOCH).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        let replaced = "this-host 00000000-0000-4000-8000-000000000001".to_owned();
        assert_eq!(
            found,
            [
                ("pfnwatch-debug-info/a.txt".to_owned(), replaced),
                ("pfnwatch-debug-info/b.txt".to_owned(), String::new())
            ]
        );
        let listing = listing(&files);
        assert!(listing.contains("a.txt") && listing.contains("46 B"), "{listing}");
        // Another is not overwritten: it may be anything.
        assert!(write(&path, &files, UNIX_EPOCH).is_err());
    }

    #[test]
    fn the_name_has_the_time() {
        assert_eq!(default_path(UNIX_EPOCH), Path::new("pfnwatch-debug-info-1970-01-01T000000Z.tar.gz"));
    }
}
