//! What becomes a schema, a reference or a `--help` has its doc comment, as has the root of each crate.

use syn::{Attribute, Field, Ident, Item, Meta};

use super::tree::File;
use super::{Rule, Tree, Violation, broken};

pub(super) const PUBLISHED: Rule = "a doc comment is on each field and variant of a type that becomes a JSON schema or a \
    `--help`: write for the reader of the JSON or of the help (unit, range, when it is absent)";
pub(super) const ROOTS: Rule = "the root of a crate begins with a doc comment: add `//! …` with the crate's purpose";

/// The fields of every document's envelope.
const ENVELOPE: [&str; 2] = ["request", "schema"];
const DERIVES: [&str; 5] = ["JsonSchema", "Args", "Parser", "Subcommand", "ValueEnum"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust().flat_map(|file| undocumented(file).into_iter().chain(root(file))).collect()
}

fn root(file: &File) -> Option<Violation> {
    let is_root =
        ["/src/lib.rs", "/src/main.rs"].iter().any(|end| file.path.ends_with(end)) || file.path.contains("/src/bin/");
    (is_root && !file.text.starts_with("//! ")).then(|| broken(ROOTS, &file.path, 1, "has no doc comment"))
}

fn undocumented(file: &File) -> Vec<Violation> {
    let published = DERIVES.iter().any(|derive| file.text.contains(derive));
    // The rooms' rules report a file that cannot be parsed.
    let parsed = Some(&file.text).filter(|_| published).and_then(|text| syn::parse_file(text).ok());
    let names = parsed.map(|parsed| items(&parsed.items)).unwrap_or_default();
    names.iter().map(|name| broken(PUBLISHED, &file.path, name.span().start().line, name.to_string())).collect()
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
