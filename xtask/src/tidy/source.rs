//! Rust source as the rules read it: the paths that it names, its code, and its prose.

use std::ops::Range;

use proc_macro2::{Span, TokenStream, TokenTree};

/// What a file of Rust source is made of. It is empty if the file cannot be split into tokens.
#[derive(Default)]
pub(super) struct Source {
    /// The paths of two segments and more, and every imported path.
    pub(super) named: Vec<Named>,
    /// The text with comments and the contents of string literals blanked, up to a test module that is written out.
    pub(super) code: String,
    /// Comments and literals alone; all else is blanked. Lines stay what they are.
    pub(super) prose: String,
}

impl Source {
    /// Splits a file.
    pub(super) fn read(text: &str) -> Self {
        let Ok(tokens) = text.parse::<TokenStream>() else { return Self::default() };
        let mut ranges = Vec::new();
        code_ranges(text, tokens.clone(), &mut ranges);
        let (mut code, mut prose, mut end) = (String::new(), String::new(), 0);
        for range in ranges {
            let (gap, word) = (part(text, end..range.start), part(text, range.clone()));
            code.push_str(&blank(gap));
            code.push_str(word);
            prose.push_str(gap);
            prose.push_str(&blank(word));
            end = range.end;
        }
        prose.push_str(part(text, end..text.len()));
        let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| opens_module(&code, at + mark.len()));
        code.truncate(tests.map_or(code.len(), |(at, _)| at));
        Self { named: named(&tokens), code, prose }
    }
}

/// The places of the tokens that are neither comments nor texts; of a text, its first quote.
fn code_ranges(text: &str, tokens: TokenStream, ranges: &mut Vec<Range<usize>>) {
    // The tokens of a doc comment have the place of the whole comment: they are not written as they are.
    let written_so = |span: Span, word: &str| Some(span.byte_range()).filter(|range| part(text, range.clone()) == word);
    for token in tokens {
        match token {
            TokenTree::Ident(word) => ranges.extend(written_so(word.span(), &word.to_string())),
            TokenTree::Punct(mark) => ranges.extend(written_so(mark.span(), &mark.as_char().to_string())),
            TokenTree::Literal(literal) => {
                let range = literal.span().byte_range();
                let written = part(text, range.clone());
                if written.starts_with(|c: char| c.is_ascii_digit()) {
                    ranges.push(range);
                } else if let Some(quote) = written.find('"').filter(|_| !written.starts_with("//")) {
                    ranges.push(range.start..range.start + quote + 1);
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = (group.span_open().byte_range(), group.span_close().byte_range());
                let bracket =
                    |range: &Range<usize>| ["(", ")", "[", "]", "{", "}"].contains(&part(text, range.clone()));
                ranges.extend(Some(open).filter(bracket));
                code_ranges(text, group.stream(), ranges);
                ranges.extend(Some(close).filter(bracket));
            }
        }
    }
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

/// A path that the source names, in a `use`, an expression, a type, a macro's tokens or an attribute's string.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Its segments with `use` groups resolved, such as `["std", "fs", "File"]` or `["std", "time", "*"]`.
    pub(super) path: Vec<String>,
    /// Whether a `use` imports it.
    pub(super) imported: bool,
    /// The modules written out in the file (`mod name { … }`) around it.
    pub(super) inline: Vec<String>,
}

impl Named {
    /// The path as it is written in source.
    pub(super) fn text(&self) -> String {
        self.path.join("::")
    }

    /// Whether the path is this item or something in it; a glob import of a module that has the item counts, too.
    pub(super) fn reaches(&self, item: &str) -> bool {
        let item: Vec<&str> = item.split("::").collect();
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path.split_last() {
            Some((&"*", opened)) => opened.starts_with(&item) || item.starts_with(opened),
            _ => path.starts_with(&item) || self.imported && item.starts_with(&path),
        }
    }
}

fn named(tokens: &TokenStream) -> Vec<Named> {
    let mut walk = Walk { found: Vec::new(), inline: Vec::new(), in_attribute: None };
    walk.stream(tokens.clone());
    walk.found
}

struct Walk {
    found: Vec<Named>,
    inline: Vec<String>,
    /// The line of the attribute that is read.
    in_attribute: Option<usize>,
}

impl Walk {
    fn stream(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => self.attribute(after),
                TokenTree::Ident(word) if word == "use" && !is(after, '<') => self.import(after),
                TokenTree::Ident(word) if word == "mod" => self.module(after),
                TokenTree::Ident(_) => self.path(rest),
                TokenTree::Group(group) => {
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
        if !text.starts_with("doc =") {
            self.in_attribute = Some(line(body));
            self.stream(text.replace('"', " ").parse().unwrap_or_else(|_| group.stream()));
            self.in_attribute = None;
        }
        after
    }

    /// What follows `mod`: a name, and a body if the module is written out here.
    fn module<'a>(&mut self, rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Ident(name), TokenTree::Group(body), after @ ..] = rest else { return rest };
        self.inline.push(name.to_string());
        self.stream(body.stream());
        self.inline.pop();
        after
    }

    fn path<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let (mut path, mut rest, line) = (Vec::new(), tokens, line(tokens));
        while let Some((TokenTree::Ident(word), after)) = rest.split_first() {
            path.push(word.to_string());
            let Some(behind) = behind_colons(after) else {
                rest = after;
                break;
            };
            rest = behind;
        }
        if path.len() > 1 {
            self.name(line, path, false);
        }
        rest
    }

    /// What follows `use`, up to its semicolon.
    fn import<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let end = tokens.iter().position(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ';'));
        let (tree, after) = tokens.split_at(end.unwrap_or(tokens.len()));
        self.use_tree(tree, &[]);
        after
    }

    fn use_tree(&mut self, tokens: &[TokenTree], prefix: &[String]) {
        for tree in tokens.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')) {
            let mut path = prefix.to_vec();
            let mut group = false;
            for token in tree {
                match token {
                    TokenTree::Ident(word) if word == "as" => break,
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(mark) if mark.as_char() == '*' => path.push("*".to_owned()),
                    TokenTree::Group(inner) => {
                        self.use_tree(&inner.stream().into_iter().collect::<Vec<_>>(), &path);
                        group = true;
                    }
                    _ => {}
                }
            }
            if !group && !tree.is_empty() {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                self.name(line(tree), path, true);
            }
        }
    }

    fn name(&mut self, line: usize, path: Vec<String>, imported: bool) {
        let line = self.in_attribute.unwrap_or(line);
        self.found.push(Named { line, path, imported, inline: self.inline.clone() });
    }
}

fn is(tokens: &[TokenTree], mark: char) -> bool {
    matches!(tokens.first(), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// What follows `::`, if an identifier does.
fn behind_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let after = if is(tokens, ':') { tokens.get(1..) } else { None }.filter(|after| is(after, ':'))?;
    after.get(1..).filter(|after| matches!(after.first(), Some(TokenTree::Ident(_))))
}

fn line(tokens: &[TokenTree]) -> usize {
    tokens.first().map_or(0, |token| token.span().start().line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        Source::read(source).named.iter().map(Named::text).collect()
    }

    #[test]
    fn code_and_prose_are_parted() {
        let source = "/// A é\nfn f() { // b\n    g(\"c\\n d\", r#\"e\"#, 'f', b\"g\", 0xAB); /* h\n */ i<'j>() }\n#[doc = \"k\"]\n#[cfg(test)]\nmod tests { const L: u8 = 0; }\n";
        let Source { code, prose, .. } = Source::read(source);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = [
            "fn", "f()", "{", "g(\"", ",", "r#\"", ",", ",", "b\"", ",", "0xAB);", "i<'j>()", "}", "#[doc", "=", "\"",
            "]",
        ];
        assert_eq!(words(&code), expected);
        assert_eq!(
            words(&prose),
            ["///", "A", "é", "//", "b", "c\\n", "d\"", "e\"#", "'f'", "g\"", "/*", "h", "*/", "k\""]
        );
        assert_eq!(prose.lines().count(), source.lines().count());
        assert!(Source::read("fn f( {").code.is_empty());
    }

    #[test]
    fn imports_are_taken_apart() {
        let source = "use std::{fs, io::{self, Read}, time::*};\nuse ::aya::Ebpf as E;\npub(crate) use a::b;";
        assert_eq!(paths(source), ["std::fs", "std::io", "std::io::Read", "std::time::*", "aya::Ebpf", "a::b"]);
        assert!(Source::read(source).named.iter().all(|named| named.imported));
    }

    #[test]
    fn paths_are_found_wherever_code_names_them() {
        for (source, path) in [
            ("fn f() { crate::a::b(1); }", "crate::a::b"),
            ("fn f(x: Vec<crate::a::B>) {}", "crate::a::B"),
            ("fn f() -> impl Fn() -> u8 + use<'_> { crate::a::c }", "crate::a::c"),
            ("fn f() { println!(\"{}\", crate::a::B); }", "crate::a::B"),
            ("macro_rules! m { () => { $crate::a::b() } }", "crate::a::b"),
            ("struct S { #[serde(with = \"crate::a::b\")] x: u8 }", "crate::a::b"),
            ("#[error(\"it's\", crate::a::b)] struct S;", "crate::a::b"),
            ("impl crate::a::T for S {}", "crate::a::T"),
            ("pub(in crate::a::b) struct S;", "crate::a::b"),
            ("fn f() { <crate::a::B as Into<u8>>::into(x) }", "crate::a::B"),
        ] {
            assert_eq!(paths(source), [path], "{source}");
        }
        assert!(paths("/// See [`crate::a::b`].\n// crate::a\nconst A: &str = \"crate::a::b\";").is_empty());
    }

    #[test]
    fn lines_and_modules_are_known() {
        let source = "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\nfn f() {\n e::f() }\n#[serde(\n    with = \"g::h\")]\nstruct A;";
        let found = Source::read(source).named;
        let found: Vec<_> = found.iter().map(|named| (named.line, named.inline.join("::"))).collect();
        assert_eq!(found, [(1, String::new()), (4, "tests".into()), (7, String::new()), (8, String::new())]);
    }
}
