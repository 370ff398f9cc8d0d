//! Links of the documents into the tree lead somewhere.

use pulldown_cmark::{Event, Parser, Tag};

use super::modules::join;
use super::tree::File;
use super::{Rule, Tree, Violation};

static LINKS: Rule = Rule {
    requirement: "a relative link of a document leads to a file of the tree",
    remedy: "correct the link, or add the file",
};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|document| broken(tree, document)).collect()
}

fn broken(tree: &Tree, document: &File) -> Vec<Violation> {
    let links = Parser::new(&document.text).into_offset_iter().filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some((dest_url, range.start)),
        _ => None,
    });
    let broken = links.filter(|(link, _)| !leads(tree, &document.path, link));
    let line = |at: usize| document.text.get(..at).unwrap_or_default().lines().count().max(1);
    broken.map(|(link, at)| LINKS.broken(&document.path, line(at + 1), format!("links to {link}"))).collect()
}

/// Whether a link leaves the tree, stays in its document, or names something of the tree. A link from the root is
/// broken: it would mean another root on every site that shows the document.
fn leads(tree: &Tree, document: &str, link: &str) -> bool {
    let target = link.split('#').next().unwrap_or_default();
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = join(folder, target);
    link.contains("://")
        || link.starts_with("mailto:")
        || target.is_empty()
        || !target.starts_with('/') && (path.is_empty() || tree.paths.contains(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<(usize, String)> {
        let tree = Tree::of(&[("docs/a.md", text), ("docs/b.md", ""), ("README.md", "")]);
        check(&tree).into_iter().map(|violation| (violation.line, violation.found)).collect()
    }

    #[test]
    fn links_that_lead_somewhere() {
        let text = "[b](b.md#part) [r](../README.md) [w](https://a/b) [h](#here) [t](..) `[x](y)`\n```\n[x](y)\n```\n";
        assert!(broken(text).is_empty());
    }

    #[test]
    fn links_that_lead_nowhere() {
        let expected = [(2, "links to c.md".into()), (2, "links to /README.md".into())];
        assert_eq!(broken("a\n[c](c.md) [d](/README.md)"), expected);
        assert_eq!(broken("a\n\n[c][1]\n\n[1]: c.md"), [(3, "links to c.md".into())]);
    }
}
