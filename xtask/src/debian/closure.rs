//! Packages with all that they depend on: what a small Debian is made of.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{DOWNLOAD_LIMIT, Suite, retried};
use crate::progress;

/// The words for apt-get with which nothing is taken but what is needed.
const INSTALL: [&str; 4] = ["install", "-qq", "--yes", "--no-install-recommends"];

impl Suite {
    /// The .deb files of these packages and of all that they depend on, each after those that it needs. apt resolves them as
    /// for a system that has nothing yet, fetches what is not in the cache, and checks each against the signed index.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        self.provide(names).or_else(|_| {
            // A file has gone from the archive because the index is a little old.
            let _lock = self.lock()?;
            self.refresh()?;
            self.provide(names)
        })
    }

    fn provide(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let _lock = self.lock()?;
        let archives = self.dir.join("archives");
        let wanted = [&INSTALL, names].concat();
        // With what is in the cache out of sight, all files are named: usually those alone that are to be fetched.
        let unseen = ["--print-uris", "-o", "Dir::Cache::archives=none"];
        let named = self.apt("apt-get", &[wanted.as_slice(), &unseen].concat()).read()?;
        let files: Vec<PathBuf> = named.lines().filter_map(file_name).map(|name| archives.join(name)).collect();
        ensure!(!files.is_empty(), "Debian suite {} resolves nothing of {names:?}", self.name);
        if !files.iter().all(|file| file.is_file()) {
            let spinner = progress::spinner(&format!("download {} packages of Debian {}", files.len(), self.name));
            let words = [wanted.as_slice(), &["--download-only"]].concat();
            retried(|| self.apt("apt-get", &words).limit(DOWNLOAD_LIMIT).read())
                .with_context(|| format!("cannot download {names:?} from Debian suite {}", self.name))?;
            spinner.finish_and_clear();
        }
        Ok(files)
    }
}

/// `'http://…/dash_0.5.12-2_amd64.deb' dash_0.5.12-2_amd64.deb 97696 MD5Sum:…`
fn file_name(line: &str) -> Option<&str> {
    line.split_whitespace().nth(1).filter(|name| name.ends_with(".deb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_of_apt() {
        let line =
            "'http://deb.debian.org/x/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb 22164 MD5Sum:7\n";
        assert_eq!(file_name(line), Some("libattr1_1%3a2.5.1-4_amd64.deb"));
        assert_eq!(file_name("E: Unable to locate package x"), None);
    }
}
