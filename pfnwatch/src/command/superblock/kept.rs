//! The info block that the agent kept of a namespace: for a reconfigure that went wrong, where the old block is gone.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use anyhow::Context as _;
use pfnwatch_common::superblock::{self, Checksum, InfoBlock};
use serde_json::{Value, json};

use super::Found;
use crate::control::{
    client::{self, ask},
    protocol::{Answer, KeptBlock, Request},
};

/// Asks the agent for it.
pub(super) fn fetch(namespace: &str, socket: &Path) -> anyhow::Result<KeptBlock> {
    match ask(socket, &Request::Block { namespace: namespace.to_owned() })?.answer {
        Answer::Block(kept) => Ok(*kept),
        _ => Err(client::other_answer()),
    }
}

pub(super) fn found(kept: &KeptBlock) -> anyhow::Result<Found> {
    let bytes = kept.block.as_slice();
    let block = InfoBlock::from_head(bytes).context("what the agent kept is no info block")?;
    let checksum = Checksum::of(bytes).context("what the agent kept is no info block")?;
    Ok(Found { offset: superblock::OFFSET, block, checksum, namespace_bytes: kept.size_bytes })
}

/// Writes the 4096 bytes into a new file. Never into one that is there: it might be the namespace's own device.
pub(super) fn write(kept: &KeptBlock, file: &Path) -> anyhow::Result<()> {
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .with_context(|| format!("making {} (a file that is there is not overwritten)", file.display()))?;
    opened.write_all(kept.block.as_slice()).with_context(|| format!("writing {}", file.display()))
}

/// What goes before the block's fields.
pub(super) fn head(kept: &KeptBlock) -> String {
    format!("{:<18}{}\n{:<18}{}\n", "namespace", kept.namespace, "last seen", kept.seen)
}

/// What goes behind them: how it is put back.
pub(super) fn steps(kept: &KeptBlock, file: Option<&Path>) -> String {
    let steps = put_back(kept, file);
    if steps.is_empty() {
        return String::new();
    }
    let lines: String = steps.iter().map(|step| format!("  {step}\n")).collect();
    format!("\nTo put it back, where nothing was written to the namespace since:\n{lines}")
}

/// The agent's commands, with the name of the file that the block is in; where it is in none yet, that comes first.
fn put_back(kept: &KeptBlock, file: Option<&Path>) -> Vec<String> {
    if kept.put_back.is_empty() {
        return Vec::new();
    }
    let Some(file) = file else {
        let fetch = format!("pfnwatch superblock --kept {} --raw FILE", kept.namespace);
        return std::iter::once(fetch).chain(kept.put_back.iter().cloned()).collect();
    };
    let file = quoted(&file.display().to_string());
    kept.put_back.iter().map(|step| step.replace("FILE", &file)).collect()
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The same for programs: more keys of the block's document.
pub(super) fn add_to(document: &mut Value, kept: &KeptBlock, file: Option<&Path>) {
    if let Value::Object(keys) = document {
        keys.insert("namespace".to_owned(), json!(kept.namespace));
        keys.insert("start_address".to_owned(), json!(kept.start_address));
        keys.insert("last_seen".to_owned(), json!(kept.seen));
        keys.insert("put_back".to_owned(), json!(put_back(kept, file)));
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_file_is_one_word() {
        assert_eq!(quoted("/tmp/a-b_1.bin"), "/tmp/a-b_1.bin");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
