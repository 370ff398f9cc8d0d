//! The documents for users as the package has them: one folder, with links that lead on in it.
//!
//! What the tree has in docs/ lies beside README.md there: alerts, the unit and the configuration name the runbook by its place.

use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;
use regex_lite::{Captures, Regex};

use crate::process::Task;
use crate::{debian, paths, tidy};

const OF_THE_ROOT: [&str; 2] = ["README.md", "LIMITATIONS.md"];
/// Folders whose contents are installed below another name.
const FOLDERS: [(&str, &str); 2] = [("docs/", ""), ("pfnwatch/dist/", "examples/")];

pub(super) fn write(folder: &Path) -> Result<()> {
    debian::empty_folder(folder)?;
    let docs = Task::new("find", ["docs", "-name", "*.md"]).dir(&paths::root()).read()?;
    for path in OF_THE_ROOT.into_iter().chain(docs.lines()) {
        let text = fs::read_to_string(paths::root().join(path))?;
        let place = installed(path).with_context(|| format!("{path} is not installed"))?;
        let file = folder.join(place);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&file, page(path, &text)?)?;
    }
    Ok(())
}

/// Where a file of the tree lies in the package's folder of documents; `None` if it is not installed.
fn installed(path: &str) -> Option<String> {
    let below = FOLDERS.iter().find_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?)));
    // The unit and the package's own scripts are installed elsewhere.
    let elsewhere = ["pfnwatch/dist/systemd", "pfnwatch/dist/debian"].iter().any(|folder| path.starts_with(folder));
    below.filter(|_| !elsewhere).or_else(|| OF_THE_ROOT.contains(&path).then(|| path.to_owned()))
}

/// A page with its links brought to the package. A link to what is not installed is its text alone.
fn page(path: &str, text: &str) -> Result<String> {
    let link = Regex::new(r"\[([^\]]*)\]\(([^)]*)\)")?;
    let replaced = link.replace_all(text, |link: &Captures<'_>| {
        let [text, target] = link.extract().1;
        redirected(path, target).map_or_else(|| text.to_owned(), |target| format!("[{text}]({target})"))
    });
    Ok(replaced.into_owned())
}

fn redirected(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with('#') {
        return Some(target.to_owned());
    }
    let (file, part) =
        target.split_once('#').map_or((target, String::new()), |(file, part)| (file, format!("#{part}")));
    let path = tidy::join(tidy::folder_of(page), file);
    let to = installed(&path).or_else(|| installed(&format!("{path}/")))?;
    let up = installed(page)?.matches('/').count();
    Some("../".repeat(up) + &to + &part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_on_in_the_package() {
        let readme = "[a](docs/a.md#b) [c](pfnwatch/dist/pfnwatch.toml) [d](https://d/) [A](ARCHITECTURE.md) `x`";
        assert_eq!(page("README.md", readme).unwrap(), "[a](a.md#b) [c](examples/pfnwatch.toml) [d](https://d/) A `x`");
        let text =
            "[l](../LIMITATIONS.md) [r](reference/e.md) [h](#here) [u](../pfnwatch/dist/systemd/pfnwatch.service)";
        assert_eq!(page("docs/a.md", text).unwrap(), "[l](LIMITATIONS.md) [r](reference/e.md) [h](#here) u");
        assert_eq!(page("docs/reference/e.md", "[a](../a.md)").unwrap(), "[a](../a.md)");
    }
}
