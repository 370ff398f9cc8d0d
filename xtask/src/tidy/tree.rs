//! The text files of the project, read once.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde::de::DeserializeOwned;

use super::source::Source;
use super::{Violation, broken};

const READABLE: &str = "the tables of the rules are in the tree and have their form: correct the file";

pub(super) struct File {
    /// Its path from the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    source: OnceCell<Source>,
}

impl File {
    fn new(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), text, source: OnceCell::new() }
    }

    /// Its text as Rust, parsed once.
    pub(super) fn source(&self) -> &Source {
        self.source.get_or_init(|| Source::read(&self.text))
    }

    /// Whether it holds unit tests alone.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Whether it is this module's file or lies in its folder: `a/b.rs` and `a/b/c.rs` are both of `a/b`.
    pub(super) fn is_of(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// The lines, numbered from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The rows of the Markdown table with this head: line and cells.
    pub(super) fn table(&self, head: &'static str) -> impl Iterator<Item = (usize, Vec<&str>)> {
        let rows = self.lines().skip_while(move |(_, line)| line.trim() != head).skip(2);
        let rows = rows.take_while(|(_, line)| line.starts_with('|'));
        rows.map(|(number, line)| (number, line.trim().trim_matches('|').split('|').map(str::trim).collect()))
    }
}

pub(super) struct Tree {
    pub(super) files: Vec<File>,
    /// Every path below the root, files and folders.
    pub(super) paths: Vec<String>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let from_root = path.strip_prefix(root)?.to_string_lossy().into_owned();
                if from_root == "target" || from_root == ".git" {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    tree.files.push(File::new(&from_root, text));
                }
                tree.paths.push(from_root);
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// A table that rules are written in.
    pub(super) fn toml<T: DeserializeOwned>(&self, path: &str) -> Result<T, Vec<Violation>> {
        let text = self.file(path).map_or("", |file| &file.text);
        toml::from_str(text).map_err(|error| vec![broken(READABLE, path, 0, error.to_string())])
    }

    /// A tree for tests: paths and texts.
    #[cfg(test)]
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files: Vec<File> = files.into_iter().map(|(path, text)| File::new(path, text.to_owned())).collect();
        Self { paths: files.iter().map(|file| file.path.clone()).collect(), files }
    }
}

/// A path from a folder, with `..` resolved.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

pub(crate) fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}
