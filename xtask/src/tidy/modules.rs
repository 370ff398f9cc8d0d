//! The modules of a crate as the compiler finds them: from its root along `mod` declarations.

use std::collections::BTreeSet;

use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta};

use super::source::Named;
use super::{Rule, Tree, Violation};

static PARSED: Rule = Rule {
    requirement: "each file of a crate can be parsed, and each declared module has its file",
    remedy: "correct the syntax or the `mod` declaration",
};

/// A file of a crate.
pub(super) struct Module<'a> {
    /// The file, from the workspace's root.
    pub(super) file: String,
    /// The module that it is: empty for a crate's root.
    pub(super) path: Vec<String>,
    /// The lines of its doc comment.
    pub(super) doc: Vec<String>,
    /// The paths that it names.
    pub(super) named: &'a [Named],
}

impl Module<'_> {
    /// The module around a path that the file names: the file's own, or one written out in it.
    pub(super) fn around(&self, named: &Named) -> Vec<String> {
        self.path.iter().chain(&named.inline).cloned().collect()
    }
}

/// The modules of the crate with this root file, and what could not be read.
pub(super) fn of_crate<'a>(tree: &'a Tree, root: &str) -> (Vec<Module<'a>>, Vec<Violation>) {
    let mut reader = Reader { tree, modules: Vec::new(), violations: Vec::new() };
    let folder = folder_of(root);
    reader.file(root, Vec::new(), &folder);
    (reader.modules, reader.violations)
}

/// Where a path leads, if it leads into the crate: `crate`, `self` and `super` resolved, as is a child module's name.
pub(super) fn resolve(
    path: &[String],
    around: &[String],
    own_name: &str,
    known: &BTreeSet<Vec<String>>,
) -> Option<Vec<String>> {
    let (first, mut rest) = path.split_first()?;
    let mut base = match first.as_str() {
        name if name == "crate" || name == own_name => Vec::new(),
        "self" => around.to_vec(),
        "super" => parent(around),
        name => {
            let child: Vec<String> = around.iter().cloned().chain([name.to_owned()]).collect();
            return known.contains(&child).then(|| child.into_iter().chain(rest.iter().cloned()).collect());
        }
    };
    while let Some(("super", after)) = rest.split_first().map(|(first, after)| (first.as_str(), after)) {
        base = parent(&base);
        rest = after;
    }
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

fn parent(module: &[String]) -> Vec<String> {
    module.split_last().map_or_else(Vec::new, |(_, parent)| parent.to_vec())
}

struct Reader<'a> {
    tree: &'a Tree,
    modules: Vec<Module<'a>>,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    /// Reads a file, whose child modules have their files in `folder`.
    fn file(&mut self, file: &str, path: Vec<String>, folder: &str) {
        let Some(source) = self.tree.file(file) else {
            self.violations.push(PARSED.broken(file, 0, "is missing"));
            return;
        };
        let parsed = match syn::parse_file(&source.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = error.span().start().line;
                return self.violations.push(PARSED.broken(file, line, error.to_string()));
            }
        };
        let named = &source.source().named;
        let doc = parsed.attrs.iter().filter_map(|attribute| text_of(attribute, "doc")).collect();
        self.modules.push(Module { file: file.to_owned(), path: path.clone(), doc, named });
        self.items(&parsed.items, file, &path, folder);
    }

    fn items(&mut self, items: &[Item], file: &str, path: &[String], folder: &str) {
        for item in items {
            if let Item::Mod(module) = item {
                self.module(module, file, path, folder);
            }
        }
    }

    fn module(&mut self, module: &ItemMod, file: &str, path: &[String], folder: &str) {
        let name = module.ident.to_string();
        let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
        let below = join(folder, &name);
        if let Some((_, items)) = &module.content {
            return self.items(items, file, &path, &below);
        }
        if let Some(place) = module.attrs.iter().find_map(|attribute| text_of(attribute, "path")) {
            let place = join(&folder_of(file), &place);
            let folder = folder_of(&place);
            return self.file(&place, path, &folder);
        }
        let (beside, inside) = (format!("{below}.rs"), format!("{below}/mod.rs"));
        let chosen =
            if self.tree.file(&beside).is_none() && self.tree.file(&inside).is_some() { inside } else { beside };
        self.file(&chosen, path, &below);
    }
}

/// The string of `#[name = "string"]`, and of a doc comment's line.
fn text_of(attribute: &Attribute, name: &str) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident(name) => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn folder_of(file: &str) -> String {
    file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()
}

/// A path from a folder, with `..` resolved.
pub(super) fn join(folder: &str, path: &str) -> String {
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
