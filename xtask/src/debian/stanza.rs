//! What `apt-cache show` prints: paragraphs of `Field: value` lines.

/// One version of a package in a suite.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Package {
    /// The package's name.
    pub(crate) name: String,
    /// Its full Debian version.
    pub(crate) version: String,
    /// The suite that holds it.
    pub(crate) suite: String,
    /// The names of the packages that it depends on, without versions; of alternatives the first.
    pub(crate) depends: Vec<String>,
    /// The name of its .deb file in the archive.
    pub(crate) file_name: String,
    /// The size of that file.
    pub(crate) size_bytes: u64,
}

/// The packages of a text; a paragraph without a file (a virtual package) is left out.
pub(super) fn parse(text: &str, suite: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(|paragraph| package(paragraph, suite)).collect()
}

fn package(paragraph: &str, suite: &str) -> Option<Package> {
    let field = |name: &str| {
        let mut lines = paragraph.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
    };
    let depends = ["Pre-Depends", "Depends"].iter().filter_map(|name| field(name));
    let path = field("Filename")?;
    Some(Package {
        name: field("Package")?,
        version: field("Version")?,
        suite: suite.to_owned(),
        depends: depends.flat_map(|list| list.split(',').filter_map(dependency).collect::<Vec<_>>()).collect(),
        file_name: path.rsplit('/').next()?.to_owned(),
        size_bytes: field("Size")?.parse().ok()?,
    })
}

/// `libc6 (>= 2.3) | libc6.1` is `libc6`, `python3:any` is `python3`.
fn dependency(entry: &str) -> Option<String> {
    let name = entry.split([' ', '|', '(', ':', '[']).find(|word| !word.is_empty())?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: linux-image-cloud-amd64\nVersion: 6.12.1-1\nPre-Depends: dpkg\n\
        Depends: linux-image-6.12.1-cloud-amd64 (= 6.12.1-1), a | b, python3:any\nFilename: pool/main/l/x_1_amd64.deb\nSize: 17\n\
        Description: a\n b: c\n\nPackage: virtual\nVersion: 1\n";

    #[test]
    fn fields_and_dependencies() {
        let packages = parse(TEXT, "trixie");
        let [package] = packages.as_slice() else { panic!("{packages:?}") };
        assert_eq!((package.name.as_str(), package.version.as_str()), ("linux-image-cloud-amd64", "6.12.1-1"));
        assert_eq!(package.depends, ["dpkg", "linux-image-6.12.1-cloud-amd64", "a", "python3"]);
        assert_eq!((package.file_name.as_str(), package.size_bytes), ("x_1_amd64.deb", 17));
    }

    #[test]
    fn damaged_text_gives_nothing() {
        assert_eq!(parse("Package: a\nFilename: x\nSize: many\n\nrubbish", "s"), []);
    }
}
