//! `cargo xtask docs`: what the pages for users show, and what is generated from the code, compared with both.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use fs_err as fs;
use guest::documents::{self, Update};

use crate::{object, paths, picture, toolchain};

/// Both guests, on a busy host, with whatever has to be built and fetched first.
const LIMIT: Duration = Duration::from_secs(1800);
/// The test that compares the JSON schemas and docs/reference with the code, or updates them.
const REFERENCE: &str = "testing::reference::files_are_what_the_code_gives";
const WRITE: &str = "PFNWATCH_WRITE_REFERENCE";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write what the code generates, and the output of the commands
    #[arg(long)]
    update: bool,
    /// Only what is generated from the code: the JSON schemas and docs/reference
    #[arg(long)]
    reference: bool,
    /// Only draw the scan of README.md
    #[arg(long, conflicts_with_all = ["update", "reference"])]
    picture: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.picture {
        return picture::write().map(|()| ExitCode::SUCCESS);
    }
    object()?;
    reference(args.update)?;
    if args.reference { Ok(ExitCode::SUCCESS) } else { commands(args.update) }
}

fn reference(update: bool) -> Result<()> {
    let test = ["test", "--quiet", "--package", "pfnwatch", "--lib", "--", "--exact", REFERENCE];
    let task = toolchain::cargo_task(test).limit(LIMIT);
    if update { task.env(WRITE, "1") } else { task }.show()
}

fn commands(write: bool) -> Result<ExitCode> {
    let arguments = ["xtask", "vm", "--kernel", "6.1", "--kernel", "6.12", "--", "documents::"];
    let (outcome, said) = toolchain::cargo_task(arguments).limit(LIMIT).tee();
    let mut pages = BTreeMap::<String, Vec<Update>>::new();
    for update in said.lines().filter_map(Update::from_line) {
        pages.entry(update.page.clone()).or_default().push(update);
    }
    if pages.is_empty() {
        return outcome.map(|()| ExitCode::SUCCESS);
    }
    for (page, updates) in pages {
        println!("{page}: the output of {} commands differs", updates.len());
        if write {
            let path = paths::root().join(&page);
            let text = fs::read_to_string(&path)?;
            fs::write(&path, documents::updated(&text, &updates))?;
        }
    }
    if write {
        picture::write()?;
    }
    Ok(if write { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
