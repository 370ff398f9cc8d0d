//! Matches a message with the text of its format string.

/// The parts of `text` that are where `pattern` has a `*`; each is the shortest that fits. `None` if it does not match.
pub(super) fn fields<'a>(text: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
    let mut pieces = pattern.split('*');
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut found = Vec::new();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let (field, behind) = if is_last { (rest.strip_suffix(piece)?, "") } else { rest.split_once(piece)? };
        found.push(field);
        rest = behind;
    }
    rest.is_empty().then_some(found)
}

/// Decimal, or hexadecimal with `0x`; also without, if the format string is `%llx`.
pub(super) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_where_the_pattern_has_a_star() {
        for (text, pattern, found) in [
            ("a 1 b", "a * b", Some(vec!["1"])),
            ("a 1 b c", "a * b", None),
            ("a 1:2", "a *:*", Some(vec!["1", "2"])),
            ("plain", "plain", Some(vec![])),
            ("plain.", "plain", None),
            ("x: is locked, failing", "*: is *, failing", Some(vec!["x", "locked"])),
            ("", "*", Some(vec![""])),
            ("ab", "ab*b", None),
        ] {
            assert_eq!(fields(text, pattern), found, "{text} {pattern}");
        }
        assert_eq!((hex("40000000"), hex("0x10"), hex("-1"), hex("")), (Some(1 << 30), Some(16), None, None));
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(parts in proptest::collection::vec("[a-z0-9.]{0,8}", 1..5)) {
            let pattern = vec!["*"; parts.len()].join(": ");
            let text = parts.join(": ");
            prop_assert_eq!(fields(&text, &pattern), Some(parts.iter().map(String::as_str).collect()));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}", pattern in "[a*é ]{0,8}") {
            let _ = (fields(&text, &pattern), hex(&text));
        }
    }
}
