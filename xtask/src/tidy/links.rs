//! Links of the documents into the tree lead somewhere.

use super::tree::File;
use super::{Rule, Tree, Violation};

static LINKS: Rule = Rule {
    requirement: "a relative link of a document leads to a file that is there",
    remedy: "correct the link, or add the file",
};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    let broken = documents.flat_map(|document| {
        let links = links(document).into_iter().filter(|(_, link)| !leads(tree, &document.path, link));
        links.map(|(line, link)| LINKS.broken(&document.path, line, format!("links to {link}"))).collect::<Vec<_>>()
    });
    broken.collect()
}

/// The relative links of a document; what stands between backquotes is an example.
fn links(document: &File) -> Vec<(usize, String)> {
    let (mut fenced, mut links) = (false, Vec::new());
    for (number, line) in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let prose: String = line.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let inside = targets.filter(|target| !fenced && !target.contains("://") && !target.starts_with(['#', '<']));
        links.extend(inside.filter(|target| !target.starts_with("mailto:")).map(|target| (number, target.to_owned())));
    }
    links
}

fn leads(tree: &Tree, document: &str, link: &str) -> bool {
    let target = link.split('#').next().unwrap_or_default().trim_end_matches('/');
    // A link from the root would mean another root on every site that shows the document.
    if target.starts_with('/') {
        return false;
    }
    let mut path: Vec<&str> = document.split('/').collect();
    path.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    let path = path.join("/");
    path.is_empty() || tree.paths.contains(&path)
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
        assert!(
            broken("[b](b.md#part) [r](../README.md) [w](https://a/b) [h](#here) `[x](y)`\n```\n[x](y)\n```\n")
                .is_empty()
        );
    }

    #[test]
    fn links_that_lead_nowhere() {
        assert_eq!(
            broken("a\n[c](c.md) [d](/README.md)"),
            [(2, "links to c.md".into()), (2, "links to /README.md".into())]
        );
    }
}
