//! The text files of the project, read once.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;

use super::source::Source;

/// A text file.
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

    /// Its text as Rust, read once.
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

/// What the rules look at.
pub(super) struct Tree {
    /// The text files, in the order of their paths.
    pub(super) files: Vec<File>,
    /// Every path below the root, files and folders.
    pub(super) paths: Vec<String>,
}

impl Tree {
    /// Reads the tree below a root, without what git and cargo keep there.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        tree.enter(root, "").with_context(|| format!("cannot list {}", root.display()))?;
        tree.paths.sort();
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn enter(&mut self, dir: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if (prefix.is_empty() && name == "target") || name == ".git" {
                continue;
            }
            let from_root = format!("{prefix}{name}");
            // A link is taken for what it leads to; one that leads nowhere is a path and no more.
            if path.is_dir() {
                self.enter(&path, &format!("{from_root}/"))?;
            } else if let Ok(text) = fs::read_to_string(&path) {
                self.files.push(File::new(&from_root, text));
            }
            self.paths.push(from_root);
        }
        Ok(())
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
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
