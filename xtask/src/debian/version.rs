//! The order of Debian's versions (deb-version(7)): asking dpkg for each of a few hundred pairs would take a second.

use std::cmp::Ordering;

use super::Package;

/// Sorts by version, the newest first; packages of one version by name.
pub(super) fn newest_first(packages: &mut [Package]) {
    packages.sort_by(|a, b| compare(&b.version, &a.version).then_with(|| a.name.cmp(&b.name)));
}

/// Compares `[epoch:]upstream[-revision]`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    digits(a.0, b.0).then_with(|| piece(a.1, b.1)).then_with(|| piece(a.2, b.2))
}

fn parts(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// A run of other characters and a run of digits by turns, until one differs.
fn piece(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let ((text_a, rest_a), (text_b, rest_b)) = (cut(a, |c| !c.is_ascii_digit()), cut(b, |c| !c.is_ascii_digit()));
        let ((number_a, rest_a), (number_b, rest_b)) =
            (cut(rest_a, |c| c.is_ascii_digit()), cut(rest_b, |c| c.is_ascii_digit()));
        let order = text(text_a, text_b).then_with(|| digits(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn cut(piece: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    piece.split_at(piece.find(|c| !belongs(c)).unwrap_or(piece.len()))
}

/// `~` sorts before the end, the end before letters, letters before the rest.
fn text(a: &str, b: &str) -> Ordering {
    let rank = |c: char| match c {
        '~' => (0, c),
        c if c.is_ascii_alphabetic() => (2, c),
        c => (3, c),
    };
    let end = (1, '\0');
    let length = a.chars().count().max(b.chars().count());
    let ranks = |text: &str| text.chars().map(rank).chain(std::iter::repeat(end)).take(length).collect::<Vec<_>>();
    ranks(a).cmp(&ranks(b))
}

fn digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is newer than the one before; the order was had from `dpkg --compare-versions`.
    const RISING: [&str; 14] = [
        "1.0~rc1-1",
        "1.0-1~bpo13+1",
        "1.0-1",
        "1.0-1+b1",
        "1.0a-1",
        "1.0+dfsg-1",
        "1.0.1-1",
        "1.9-9",
        "1.10-1",
        "6.12.9-1",
        "6.12.107-1~bpo13+1",
        "6.12.107-1",
        "6.12.107+deb13-1",
        "1:0.1-1",
    ];

    #[test]
    fn order_is_that_of_dpkg() {
        for (i, a) in RISING.iter().enumerate() {
            for (j, b) in RISING.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
    }

    #[test]
    fn leading_zeros_do_not_count() {
        assert_eq!(compare("1.01-1", "1.1-1"), Ordering::Equal);
    }
}
