//! The text files of the project, read once.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// A text file.
pub(crate) struct File {
    /// Its path from the root, with slashes.
    pub(crate) path: String,
    /// Its contents.
    pub(crate) text: String,
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
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// What the rules look at.
pub(crate) struct Tree {
    /// The text files, in the order of their paths.
    pub(crate) files: Vec<File>,
    /// Every path below the root, files and folders.
    pub(crate) paths: Vec<String>,
}

impl Tree {
    /// Reads the tree below a root. What git and cargo keep there is none of it.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        tree.enter(root, "")?;
        tree.paths.sort();
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn enter(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            if (prefix.is_empty() && name == "target") || name == ".git" {
                continue;
            }
            let from_root = format!("{prefix}{}", name.to_string_lossy());
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
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file of this path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// A tree for tests: paths and texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        Self { files: files.iter().map(|(path, text)| File::new(path, (*text).to_owned())).collect(), paths }
    }
}
