//! The files that a configuration is made of: the main file, and the drop-ins beside it in the order of their names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

const DROP_INS: &str = "conf.d";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// `None` for the defaults.
    pub path: Option<PathBuf>,
    pub text: String,
}

/// In the order of precedence: each overrides those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFiles(Vec<ConfigFile>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition<'a> {
    /// `None` for the defaults.
    pub path: Option<&'a Path>,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for SourcePosition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.unwrap_or(Path::new("(defaults)")).display();
        write!(f, "{path}, line {}, column {}", self.line, self.column)
    }
}

impl ConfigFiles {
    /// Reads the main file, if there is one, and the drop-ins: `*.toml` in `folder`, without hidden files.
    pub fn read(main: Option<&Path>, folder: &Path) -> anyhow::Result<Self> {
        let files = main.map(Path::to_owned).into_iter().chain(drop_ins(folder)?);
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
            Ok(ConfigFile { path: Some(path), text })
        };
        files.map(read).collect::<anyhow::Result<_>>().map(Self)
    }

    #[must_use]
    pub fn folder(main: &Path) -> PathBuf {
        main.with_file_name(DROP_INS)
    }

    #[must_use]
    pub fn over(self, defaults: &str) -> Self {
        let defaults = ConfigFile { path: None, text: defaults.to_owned() };
        Self([defaults].into_iter().chain(self.0).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigFile> {
        self.0.iter()
    }

    /// Each with the offset of its first byte among the bytes of all files, as [`ConfigFiles::place`] takes it.
    pub(super) fn with_bases(&self) -> impl Iterator<Item = (usize, &ConfigFile)> {
        self.0.iter().scan(0, |next: &mut usize, source| {
            let base = *next;
            // One more, so that the end of a file is not the beginning of the next.
            *next = base.saturating_add(source.text.len()).saturating_add(1);
            Some((base, source))
        })
    }

    #[must_use]
    pub fn place(&self, offset: usize) -> Option<SourcePosition<'_>> {
        let (base, source) = self.with_bases().take_while(|(base, _)| *base <= offset).last()?;
        let before = source.text.get(..offset - base)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(SourcePosition {
            path: source.path.as_deref(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }

    #[must_use]
    pub fn text(&self, span: &std::ops::Range<usize>) -> Option<&str> {
        let (base, source) = self.with_bases().take_while(|(base, _)| *base <= span.start).last()?;
        source.text.get(span.start - base..span.end.checked_sub(base)?)
    }

    /// The first 16 digits of the SHA-256 of all texts: what `cat FILE conf.d/*.toml | sha256sum` prints.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        self.0.iter().for_each(|source| digest.update(&source.text));
        let mut hash = HEXLOWER.encode(&digest.finalize());
        hash.truncate(16);
        hash
    }

    /// The files by their names; `None` if there is no file.
    #[must_use]
    pub fn names(&self) -> Option<String> {
        let names: Vec<_> = self.0.iter().filter_map(|it| Some(it.path.as_deref()?.display().to_string())).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let source =
            |(path, text): &(&str, &str)| ConfigFile { path: Some(PathBuf::from(path)), text: (*text).to_owned() };
        Self(files.iter().map(source).collect())
    }
}

fn drop_ins(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.with_context(unreadable)?,
    };
    let paths =
        entries.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<_> =
        paths.into_iter().filter(|path| path.extension() == Some(OsStr::new("toml")) && !hidden(path)).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_come_by_name_after_the_main_file() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("pfnwatch.toml");
        let drop_ins = ConfigFiles::folder(&main);
        assert_eq!(drop_ins, folder.path().join("conf.d"));
        fs::write(&main, "main").unwrap();
        assert_eq!(ConfigFiles::read(Some(&main), &drop_ins).unwrap().iter().count(), 1, "no folder is no drop-in");
        fs::create_dir(&drop_ins).unwrap();
        for name in ["9.toml", "10.toml", "a.toml", ".hidden.toml", "b.toml.dpkg-old", "readme", "B.toml"] {
            fs::write(drop_ins.join(name), name).unwrap();
        }
        let read = |main| {
            let sources = ConfigFiles::read(main, &drop_ins).unwrap();
            sources.iter().map(|source| source.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(read(Some(main.as_path())), ["main", "10.toml", "9.toml", "B.toml", "a.toml"]);
        assert_eq!(read(None), ["10.toml", "9.toml", "B.toml", "a.toml"]);
        fs::create_dir(drop_ins.join("c.toml")).unwrap();
        let error = format!("{:#}", ConfigFiles::read(None, &drop_ins).unwrap_err());
        assert!(error.contains("c.toml cannot be read"), "{error}");
        assert!(ConfigFiles::read(Some(Path::new("/no/such/file")), folder.path()).is_err());
    }

    #[test]
    fn places_are_found() {
        let sources = ConfigFiles::of(&[("a", "x\nüy = 1"), ("b", ""), ("c", "z\n")]);
        let place = |offset| {
            sources.place(offset).map(|it| (it.path.unwrap().to_str().unwrap().to_owned(), it.line, it.column))
        };
        let expect = |path: &str, line, column| Some((path.to_owned(), line, column));
        assert_eq!(place(0), expect("a", 1, 1));
        assert_eq!(place(4), expect("a", 2, 2), "a character of two bytes is one column");
        assert_eq!(place(9), expect("a", 2, 7));
        assert_eq!(place(10), expect("b", 1, 1));
        assert_eq!(place(11), expect("c", 1, 1));
        assert_eq!(place(13), expect("c", 2, 1));
        assert_eq!(place(14), None);
        assert_eq!(sources.text(&(4..5)), Some("y"));
        assert_eq!(sources.text(&(11..12)), Some("z"));
        assert_eq!(sources.text(&(9..14)), None);
    }

    #[test]
    fn the_hash_is_what_sha256sum_prints() {
        assert_eq!(ConfigFiles::default().hash(), "e3b0c44298fc1c14");
        assert_eq!(ConfigFiles::of(&[("a", "abc")]).hash(), "ba7816bf8f01cfea");
        assert_eq!(ConfigFiles::of(&[("a", "a"), ("b", "bc")]).hash(), "ba7816bf8f01cfea");
        assert_eq!(ConfigFiles::of(&[("a", "a"), ("b", "bc")]).names().unwrap(), "a, b");
        assert_eq!(ConfigFiles::default().over("x").names(), None);
    }
}
