//! Rust source as the rules read it: the paths that it names, the modules that it declares, its code, and its prose.

use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, ItemUse, Lit, Macro, Meta, Path, UseTree};

#[derive(Default)]
pub(super) struct Source {
    /// Whether the file can be parsed; if not, all else is empty.
    pub(super) is_read: bool,
    /// The paths of two segments and more, and every imported path.
    pub(super) named: Vec<Named>,
    /// The modules whose text is in another file.
    pub(super) children: Vec<Child>,
    /// The text with comments and the contents of string literals blanked, up to a test module that is written out.
    pub(super) code: String,
    /// Comments and literals alone; all else is blanked. Lines stay what they are.
    pub(super) prose: String,
}

pub(super) struct Named {
    /// Its line, from 1.
    pub(super) line: usize,
    /// With `use` groups resolved: `std::fs::File` or `std::time::*`.
    pub(super) path: String,
    imported: bool,
    /// The module written out in the file (`mod name { … }`) around it, or nothing.
    pub(super) inline: String,
}

/// A `mod name;`.
pub(super) struct Child {
    /// From the file's own module: `name`, or `inline::name`.
    pub(super) path: String,
    /// What `#[path]` names.
    pub(super) place: Option<String>,
}

impl Named {
    /// Whether the path is this item or something in it; a glob import of a module that has the item counts, too.
    pub(super) fn reaches(&self, item: &str) -> bool {
        match self.path.strip_suffix("::*") {
            Some(opened) => within(opened, item) || within(item, opened),
            None => within(&self.path, item) || self.imported && within(item, &self.path),
        }
    }
}

pub(super) fn within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path below another, either of which may be empty.
pub(super) fn below(outer: &str, path: &str) -> String {
    if outer.is_empty() || path.is_empty() { format!("{outer}{path}") } else { format!("{outer}::{path}") }
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let Ok(tokens) = text.parse::<TokenStream>() else { return Self::default() };
        let Ok(file) = syn::parse2::<syn::File>(tokens.clone()) else { return Self::default() };
        let mut found = Names::default();
        found.visit_file(&file);
        let (mut code, mut prose, mut end) = (String::new(), String::new(), 0);
        for range in code_ranges(text, tokens) {
            let (gap, word) = (part(text, end..range.start), part(text, range.clone()));
            code += &(blank(gap) + word);
            prose += &(gap.to_owned() + &blank(word));
            end = range.end;
        }
        prose += part(text, end..text.len());
        let tests = file.items.iter().find_map(|item| match item {
            Item::Mod(module) if module.ident == "tests" && module.content.is_some() => Some(line(module)),
            _ => None,
        });
        let code = code.lines().take(tests.map_or(usize::MAX, |line| line - 1)).map(|line| line.to_owned() + "\n");
        Self { is_read: true, named: found.named, children: found.children, code: code.collect(), prose }
    }
}

/// The places of the tokens that are neither comments nor texts; of a text, its first quote.
fn code_ranges(text: &str, tokens: TokenStream) -> Vec<Range<usize>> {
    // The tokens of a doc comment have the place of the whole comment.
    let is_comment = |range: Range<usize>| ["//", "/*"].iter().any(|mark| part(text, range.clone()).starts_with(mark));
    let tokens = tokens.into_iter().filter(|token| !is_comment(token.span().byte_range()));
    let ranges = tokens.flat_map(|token| match token {
        TokenTree::Group(group) => {
            let (open, close) = (group.span_open().byte_range(), group.span_close().byte_range());
            [vec![open], code_ranges(text, group.stream()), vec![close]].concat()
        }
        TokenTree::Literal(literal) => {
            let Range { start, end } = literal.span().byte_range();
            let written = part(text, start..end);
            let is_number = written.starts_with(|c: char| c.is_ascii_digit());
            let quote = written.find('"').map_or(start, |quote| start + quote + 1);
            std::iter::once(start..if is_number { end } else { quote }).collect()
        }
        other => vec![other.span().byte_range()],
    });
    ranges.collect()
}

fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

fn line(spanned: &impl Spanned) -> usize {
    spanned.span().start().line
}

#[derive(Default)]
struct Names {
    named: Vec<Named>,
    children: Vec<Child>,
    inline: String,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let path = below(&self.inline, &module.ident.to_string());
        if module.content.is_none() {
            let place = module.attrs.iter().find_map(place);
            self.children.push(Child { path: path.clone(), place });
        }
        let outer = std::mem::replace(&mut self.inline, path);
        visit::visit_item_mod(self, module);
        self.inline = outer;
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.import(&import.tree, "");
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(line(path), &segments.join("::"));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone(), None);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.visit_path(attribute.path());
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), Some(line(attribute)));
        }
    }
}

impl Names {
    fn name(&mut self, line: usize, path: &str) {
        let path = path.trim_matches(':');
        if path.contains("::") {
            self.named.push(Named { line, path: path.to_owned(), imported: false, inline: self.inline.clone() });
        }
    }

    fn import(&mut self, tree: &UseTree, prefix: &str) {
        let end = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &below(prefix, &path.ident.to_string())),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, prefix)),
            UseTree::Name(name) => name.ident.to_string(),
            UseTree::Rename(name) => name.ident.to_string(),
            UseTree::Glob(_) => "*".to_owned(),
        };
        let path = if end == "self" && !prefix.is_empty() { prefix.to_owned() } else { below(prefix, &end) };
        self.named.push(Named { line: line(tree), path, imported: true, inline: self.inline.clone() });
    }

    /// The paths among tokens of a macro or, with its line, of an attribute. There a string may be a path, such as serde's
    /// `with = "crate::units"`.
    fn tokens(&mut self, tokens: TokenStream, attribute: Option<usize>) {
        let (mut path, mut start) = (String::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) if path.ends_with("::") => path += &word.to_string(),
                TokenTree::Punct(mark) if mark.as_char() == ':' => path.push(':'),
                other => {
                    self.name(start, &std::mem::take(&mut path));
                    start = attribute.unwrap_or(other.span().start().line);
                    match other {
                        TokenTree::Ident(word) => path = word.to_string(),
                        TokenTree::Group(group) => self.tokens(group.stream(), attribute),
                        TokenTree::Literal(text) if attribute.is_some() => {
                            let text = text.to_string();
                            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')?.parse().ok());
                            self.tokens(text.unwrap_or_default(), attribute);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.name(start, &path);
    }
}

/// What `#[path = "…"]` names.
fn place(attribute: &Attribute) -> Option<String> {
    match &attribute.meta.require_name_value().ok()?.value {
        Expr::Lit(ExprLit { lit: Lit::Str(place), .. }) if attribute.path().is_ident("path") => Some(place.value()),
        _ => None,
    }
}
