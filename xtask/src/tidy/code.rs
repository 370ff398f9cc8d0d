//! Rust source as the rules read it: without comments, texts and test modules, and as the paths that it names.

/// The code of a file: what is in comments and texts is blanked out, so that lines stay; a test module that is written
/// out in the file (ours stand at its end) is cut off.
pub(super) fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let (kept, blanked) = piece(rest, code.chars().next_back());
        let length = (kept + blanked).max(next.len_utf8());
        let (piece, after) = rest.split_at(length.min(rest.len()));
        code.extend(piece.char_indices().map(|(at, c)| if at < kept || c == '\n' { c } else { ' ' }));
        rest = after;
    }
    let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| opens_module(&code, at + mark.len()));
    let end = tests.map_or(code.len(), |(at, _)| at);
    code.truncate(end);
    code
}

/// Whether a module with its body stands there: `mod tests {`, not `mod tests;`.
fn opens_module(code: &str, at: usize) -> bool {
    let after = code.get(at..).unwrap_or_default().trim_start();
    after.starts_with("mod ") && after.find(['{', ';']).is_some_and(|end| after.get(end..=end) == Some("{"))
}

/// How many bytes of the next piece are kept and how many after them are blanked.
fn piece(rest: &str, before: Option<char>) -> (usize, usize) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (0, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (0, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (1, text_body(rest.get(1..).unwrap_or_default()));
    }
    let raw = rest.trim_start_matches(['b', 'c']);
    if !in_word && raw.starts_with('r') && rest.len() - raw.len() <= 1 {
        let marks = raw.bytes().skip(1).take_while(|byte| *byte == b'#').count();
        let opening = rest.len() - raw.len() + 1 + marks + 1;
        if rest.get(opening - 1..opening) == Some("\"") {
            let closing = format!("\"{}", "#".repeat(marks));
            let body = rest.get(opening..).unwrap_or_default();
            return (opening, body.find(&closing).map_or(body.len(), |at| at + closing.len()));
        }
    }
    if rest.starts_with('\'') { (1, character_body(rest.get(1..).unwrap_or_default())) } else { (0, 0).max(word(rest)) }
}

/// A word or a single character, kept as it is.
fn word(rest: &str) -> (usize, usize) {
    (rest.chars().next().map_or(0, char::len_utf8), 0)
}

/// Comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(after) = rest.get(at..).filter(|after| !after.is_empty()) {
        let step = match after {
            after if after.starts_with("/*") => {
                depth += 1;
                2
            }
            after if after.starts_with("*/") => {
                depth -= 1;
                2
            }
            after => word(after).0,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a text's body with its closing quote.
fn text_body(body: &str) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    body.len()
}

/// The length of a character's body with its closing quote; 0 for a lifetime.
fn character_body(body: &str) -> usize {
    let mut chars = body.char_indices();
    match chars.next() {
        Some((_, '\\')) => body.get(2..).and_then(|after| after.find('\'')).map_or(0, |at| at + 3),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// A path that the code names.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The path with `use` groups taken apart, such as `std::fs::File` or `std::time::*`.
    pub(super) path: String,
    /// Whether a `use` brings it in.
    pub(super) imported: bool,
}

/// The paths that code (as `code` returns it) names.
pub(super) fn paths(code: &str) -> Vec<Named> {
    let mut named = Vec::new();
    // The paths that stand before the groups which are open now, in a `use`.
    let mut groups: Vec<String> = Vec::new();
    let (mut path, mut imported) = (String::new(), false);
    for (line, token) in tokens(code) {
        let joins = path.ends_with("::") || path.is_empty();
        let belongs = token == "::" || token == "*" && imported || is_word(token) && joins;
        if imported && token == "{" {
            groups.push(std::mem::take(&mut path));
            path = groups.last().cloned().unwrap_or_default();
        } else if belongs && !(token == "as" || token == "use") {
            path.push_str(token);
        } else {
            let whole = path.trim_end_matches("::self").trim_start_matches("::");
            if !whole.is_empty() && !whole.ends_with("::") {
                named.push(Named { line, path: whole.to_owned(), imported });
            }
            path.clear();
            match token {
                "use" => imported = true,
                ";" => (imported, groups) = (false, Vec::new()),
                "}" if imported => drop(groups.pop()),
                "," if imported => path = groups.last().cloned().unwrap_or_default(),
                // Behind `as` stands a name of the importer's own.
                word if !imported && is_word(word) => path.push_str(word),
                _ => {}
            }
        }
    }
    named
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and every other character by itself, each with its line.
fn tokens(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| line_tokens(line).map(move |token| (index + 1, token)))
}

fn line_tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line.trim_start();
    std::iter::from_fn(move || {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match rest.chars().next()? {
            c if in_word(c) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after.trim_start();
        Some(token)
    })
}

#[cfg(test)]
mod tests;
