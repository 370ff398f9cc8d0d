//! What becomes a schema, a reference or a `--help` has its doc comment, as has the root of each crate.

use syn::{Attribute, Field, Ident, Item, Meta};

use super::tree::File;
use super::{Rule, Tree, Violation};

static PUBLISHED: Rule = Rule {
    requirement: "a doc comment is on each field and variant of a type that becomes a JSON schema or a `--help`",
    remedy: "write for the reader of the JSON or of the help: unit, range, when it is absent",
};
static ROOTS: Rule = Rule {
    requirement: "the root of a crate begins with a doc comment",
    remedy: "add `//! …` with the crate's purpose",
};

/// The fields of every document's envelope.
const ENVELOPE: [&str; 2] = ["request", "schema"];
const DERIVES: [&str; 5] = ["JsonSchema", "Args", "Parser", "Subcommand", "ValueEnum"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust().flat_map(|file| undocumented(file).into_iter().chain(root(file))).collect()
}

fn root(file: &File) -> Option<Violation> {
    let is_root =
        ["/src/lib.rs", "/src/main.rs"].iter().any(|end| file.path.ends_with(end)) || file.path.contains("/src/bin/");
    (is_root && !file.text.starts_with("//! ")).then(|| ROOTS.broken(&file.path, 1, "has no doc comment"))
}

fn undocumented(file: &File) -> Vec<Violation> {
    let published = DERIVES.iter().any(|derive| file.text.contains(derive));
    // The rooms' rules report a file that cannot be parsed.
    let parsed = Some(&file.text).filter(|_| published).and_then(|text| syn::parse_file(text).ok());
    let names = parsed.map(|parsed| items(&parsed.items)).unwrap_or_default();
    names.iter().map(|name| PUBLISHED.broken(&file.path, name.span().start().line, name.to_string())).collect()
}

fn items(items: &[Item]) -> Vec<Ident> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Struct(item) if is_published(&item.attrs) => found.extend(fields(item.fields.iter())),
            Item::Enum(item) if is_published(&item.attrs) => {
                for variant in &item.variants {
                    found.extend(Some(&variant.ident).filter(|_| needs_doc(&variant.attrs)).cloned());
                    found.extend(fields(variant.fields.iter()));
                }
            }
            Item::Mod(module) => found.extend(self::items(module.content.as_ref().map_or(&[], |(_, items)| items))),
            _ => {}
        }
    }
    found
}

fn fields<'a>(fields: impl Iterator<Item = &'a Field>) -> impl Iterator<Item = Ident> {
    fields
        .filter(|field| needs_doc(&field.attrs))
        .filter_map(|field| field.ident.clone())
        .filter(|name| !ENVELOPE.iter().any(|field| name == field))
}

fn is_published(attributes: &[Attribute]) -> bool {
    let derives =
        attributes.iter().filter(|attribute| ["derive", "cfg_attr"].iter().any(|name| attribute.path().is_ident(name)));
    derives.flat_map(words).any(|word| DERIVES.contains(&word.as_str()))
}

/// Whether it has no doc comment of its own, and is not replaced by what it contains.
fn needs_doc(attributes: &[Attribute]) -> bool {
    let replaced = |attribute: &Attribute| {
        words(attribute).iter().any(|word| ["flatten", "skip", "subcommand"].contains(&word.as_str()))
    };
    !attributes.iter().any(|attribute| attribute.path().is_ident("doc") || replaced(attribute))
}

/// The words in an attribute's parentheses.
fn words(attribute: &Attribute) -> Vec<String> {
    let Meta::List(list) = &attribute.meta else { return Vec::new() };
    let text = list.tokens.to_string();
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let found = check(&Tree::of(&[(path, text)]));
        found.iter().map(|violation| format!("{} {}", violation.line, violation.found)).collect()
    }

    #[test]
    fn published_fields_have_a_doc_comment() {
        let schema = "#[cfg_attr(test, derive(schemars::JsonSchema))]\n";
        assert_eq!(found("a.rs", &format!("{schema}struct A {{\n    /// B.\n    b: u8,\n    c: u8,\n}}")), ["5 c"]);
        assert_eq!(
            found("a.rs", &format!("mod m {{ {schema}enum A {{ B,\n C {{ d: u8 }} }} }}")),
            ["2 B", "3 C", "3 d"]
        );
        assert_eq!(found("a.rs", "#[derive(Debug, clap::Args)]\nstruct A { b: u8 }"), ["2 b"]);
        assert!(
            found(
                "a.rs",
                &format!("{schema}struct A {{ #[serde(flatten)] b: B }}\nstruct C {{ d: u8 }} // JsonSchema")
            )
            .is_empty()
        );
        assert!(found("a.rs", &format!("{schema}struct A(u8);")).is_empty());
    }

    #[test]
    fn roots_have_a_doc_comment() {
        for path in ["a/src/lib.rs", "a/src/main.rs", "a/src/bin/b.rs"] {
            assert_eq!(found(path, "fn f() {}"), ["1 has no doc comment"]);
            assert!(found(path, "//! A.").is_empty());
        }
        assert!(found("a/src/b.rs", "fn f() {}").is_empty());
    }
}
