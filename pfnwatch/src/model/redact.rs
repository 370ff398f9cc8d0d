//! Why a configuration was refused, for those who may not read the file: the web page, events, receivers of alerts. Pure.

/// The error without the quoted lines of the file, which may hold any secret, and with masked URLs: users and
/// passwords, paths and queries. Line and column stay.
#[must_use]
pub fn redact_quotes(error: &str) -> String {
    let told: Vec<String> = error.lines().filter(|line| !is_quoted(line)).map(|line| masked(line.trim())).collect();
    told.join(": ")
}

/// `  |`, `3 | url = "…"`
fn is_quoted(line: &str) -> bool {
    line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
}

fn masked(line: &str) -> String {
    line.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')).map(masked_word).collect()
}

/// `https://user:password@host/path?query` becomes `https://…@host/…`.
fn masked_word(word: &str) -> String {
    let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "\"'`,;:.)".contains(c));
    let after = word.strip_prefix(bare).unwrap_or_default();
    let (scheme, rest) = bare.split_once("://").map_or((None, bare), |(scheme, rest)| (Some(scheme), rest));
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    // Of a path without a scheme nobody knows what it is: it stays up to its query.
    let secret = place.find(if scheme.is_some() { ['/', '?', '#'] } else { ['?'; 3] });
    let (host, secret) = place.split_at(secret.unwrap_or(place.len()));
    let mut masked = scheme.map_or_else(String::new, |scheme| format!("{scheme}://"));
    masked.push_str(if user.is_some() { "…@" } else { "" });
    masked.push_str(host);
    masked.extend(secret.chars().take(1));
    masked.push_str(if secret.len() > 1 { "…" } else { "" });
    masked + after
}
