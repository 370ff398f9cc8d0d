//! Rust source as the rules read it: the paths that it names, the modules that it declares, its code, and its prose.

use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};

/// What a file of Rust source is made of.
#[derive(Default)]
pub(super) struct Source {
    /// Whether the file can be split into tokens; if not, all else is empty.
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

/// A path that the source names, in a `use`, an expression, a type, a macro's tokens or an attribute's string.
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

/// Whether a path is this one or below it.
pub(super) fn within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path below another, either of which may be empty.
pub(super) fn below(outer: &str, path: &str) -> String {
    if outer.is_empty() || path.is_empty() { format!("{outer}{path}") } else { format!("{outer}::{path}") }
}

impl Source {
    /// Splits a file.
    pub(super) fn read(text: &str) -> Self {
        let Ok(tokens) = text.parse::<TokenStream>() else { return Self::default() };
        let mut walk = Walk::default();
        walk.stream(tokens.clone());
        let (mut code, mut prose, mut end) = (String::new(), String::new(), 0);
        for range in code_ranges(text, tokens) {
            let (gap, word) = (part(text, end..range.start), part(text, range.clone()));
            code += &(blank(gap) + word);
            prose += &(gap.to_owned() + &blank(word));
            end = range.end;
        }
        prose += part(text, end..text.len());
        let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| opens_module(&code, at + mark.len()));
        code.truncate(tests.map_or(code.len(), |(at, _)| at));
        Self { is_read: true, named: walk.named, children: walk.children, code, prose }
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

/// Whether a module with its body follows: `mod tests {`, not `mod tests;`.
fn opens_module(code: &str, at: usize) -> bool {
    let after = code.get(at..).unwrap_or_default().trim_start();
    after.starts_with("mod ") && after.find(['{', ';']).is_some_and(|end| after.get(end..=end) == Some("{"))
}

#[derive(Default)]
struct Walk {
    named: Vec<Named>,
    children: Vec<Child>,
    inline: String,
    /// The line of the attribute that is read.
    in_attribute: Option<usize>,
    /// What the last `#[path]` named.
    place: Option<String>,
}

impl Walk {
    fn stream(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = match (token, after) {
                (TokenTree::Punct(mark), _) if mark.as_char() == '#' => self.attribute(after),
                (TokenTree::Ident(word), _) if word == "use" && !is(after, '<') => self.import(after),
                (TokenTree::Ident(word), [TokenTree::Ident(name), TokenTree::Group(body), after @ ..])
                    if word == "mod" =>
                {
                    let inner = below(&self.inline, &name.to_string());
                    let outer = std::mem::replace(&mut self.inline, inner);
                    self.stream(body.stream());
                    self.inline = outer;
                    after
                }
                (TokenTree::Ident(word), [TokenTree::Ident(name), after @ ..]) if word == "mod" => {
                    let path = below(&self.inline, &name.to_string());
                    self.children.push(Child { path, place: self.place.take() });
                    after
                }
                (TokenTree::Ident(_), _) => self.path(rest),
                (TokenTree::Group(group), _) => {
                    self.stream(group.stream());
                    after
                }
                _ => after,
            };
        }
    }

    /// An attribute; a string in it may be a path, such as serde's `with = "crate::units"`.
    fn attribute<'a>(&mut self, rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let body = if is(rest, '!') { rest.get(1..).unwrap_or_default() } else { rest };
        let Some((TokenTree::Group(group), after)) = body.split_first() else { return rest };
        let text = group.stream().to_string();
        if let Some(place) = text.strip_prefix("path =") {
            self.place = Some(place.trim_matches([' ', '"']).to_owned());
        } else if !text.starts_with("doc =") {
            self.in_attribute = Some(line(body));
            self.stream(text.replace('"', " ").parse().unwrap_or_else(|_| group.stream()));
            self.in_attribute = None;
        }
        after
    }

    fn path<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let (mut path, mut rest) = (String::new(), tokens);
        while let Some((TokenTree::Ident(word), after)) = rest.split_first() {
            path = below(&path, &word.to_string());
            let behind = after.get(2..).filter(|_| is(after, ':') && after.get(1..).is_some_and(|rest| is(rest, ':')));
            match behind {
                Some(behind @ [TokenTree::Ident(_), ..]) => rest = behind,
                _ => {
                    rest = after;
                    break;
                }
            }
        }
        if path.contains("::") {
            self.name(line(tokens), path, false);
        }
        rest
    }

    /// What follows `use`, up to its semicolon.
    fn import<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let end = tokens.iter().position(|token| is(std::slice::from_ref(token), ';')).unwrap_or(tokens.len());
        let (tree, after) = tokens.split_at(end);
        self.use_tree(tree, "");
        after
    }

    fn use_tree(&mut self, tokens: &[TokenTree], prefix: &str) {
        for tree in tokens.split(|token| is(std::slice::from_ref(token), ',')) {
            let (mut path, mut is_group) = (prefix.to_owned(), tree.is_empty());
            for token in tree {
                match token {
                    TokenTree::Ident(word) if word == "as" => break,
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path = below(&path, &word.to_string()),
                    TokenTree::Punct(mark) if mark.as_char() == '*' => path = below(&path, "*"),
                    TokenTree::Group(inner) => {
                        self.use_tree(&inner.stream().into_iter().collect::<Vec<_>>(), &path);
                        is_group = true;
                    }
                    _ => {}
                }
            }
            if !is_group {
                self.name(line(tree), path, true);
            }
        }
    }

    fn name(&mut self, line: usize, path: String, imported: bool) {
        let line = self.in_attribute.unwrap_or(line);
        self.named.push(Named { line, path, imported, inline: self.inline.clone() });
    }
}

fn is(tokens: &[TokenTree], mark: char) -> bool {
    matches!(tokens.first(), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn line(tokens: &[TokenTree]) -> usize {
    tokens.first().map_or(0, |token| token.span().start().line)
}
