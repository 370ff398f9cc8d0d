//! Compares the output of a command with the page.
//!
//! What differs from run to run is in the page with some earlier value, and compared by its kind: times, durations,
//! process ids, uuids, hashes, addresses, numbers of exemptions, the agent's memory, a kernel's release, and the blanks
//! that align a table with them. A line of `…` matches any number of lines.

/// Matches any number of lines.
pub const ANY_LINES: &str = "…";
/// Digits of hexadecimal numbers that are addresses in the kernel's code, and of those that are hashes.
const ADDRESS_DIGITS: usize = 5;
const HASH_DIGITS: usize = 20;
/// Units of durations. An `m` is a minute: sizes are in MiB.
const DURATIONS: [&str; 8] = ["ns", "us", "µs", "ms", "s", "m", "min", "h"];

pub fn agrees(page: &[String], real: &[String]) -> bool {
    let normal = |lines: &[String]| lines.iter().map(|line| normal(line)).collect::<Vec<_>>();
    matches(&normal(trimmed(page)), &normal(trimmed(real)))
}

pub fn trimmed(lines: &[String]) -> &[String] {
    let end = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    lines.get(..end).unwrap_or_default()
}

fn matches(page: &[String], real: &[String]) -> bool {
    match (page.split_first(), real.split_first()) {
        (None, _) => real.is_empty(),
        // It matches nothing, or one line and whatever comes after that.
        (Some((any, rest)), said) if any == ANY_LINES => {
            matches(rest, real) || said.is_some_and(|(_, more)| matches(page, more))
        }
        (Some((line, rest)), Some((said, more))) => line == said && matches(rest, more),
        (Some(_), None) => false,
    }
}

/// A line with placeholders for what may differ.
fn normal(line: &str) -> String {
    // The agent's size is a matter of `bench agent`.
    if line.trim_start().starts_with("in memory:") {
        return "MEMORY".to_owned();
    }
    let mut words = Vec::<String>::new();
    for word in line.split_whitespace() {
        let kind = kind(word, words.last().map(String::as_str));
        // "3 s" is a duration as "3s" is, and "1m 3s" is one.
        if DURATIONS.contains(&inner(word)) && words.last().is_some_and(|last| is_number(last)) {
            words.pop();
            words.push(word.replacen(inner(word), "DURATION", 1));
        } else if !(kind == "DURATION" && words.last() == Some(&kind)) {
            words.push(kind);
        }
    }
    words.join(" ")
}

fn kind(word: &str, before: Option<&str>) -> String {
    let core = inner(word);
    let named = |kind: &str| word.replacen(core, kind, 1);
    if before.is_some_and(|before| before.ends_with("pid")) && is_number(core) {
        named("PID")
    } else if before.is_none_or(|before| matches!(before, "exemption" | "--revoke")) && is_exemption(core) {
        named("EXEMPTION")
    } else if is_time(core) || is_since_boot(word) {
        named("TIME")
    } else if is_uuid(core) {
        named("UUID")
    } else if core.strip_prefix("0x").is_some_and(|digits| is_hex(digits, ADDRESS_DIGITS) && !digits.ends_with("00000"))
    {
        // A region begins at a round one, and that counts.
        named("ADDRESS")
    } else if is_hex(core, HASH_DIGITS) {
        named("HASH")
    } else if is_release(core) {
        named("RELEASE")
    } else if let Some(release) = core.split('/').find(|part| is_release(part)) {
        // A folder of modules.
        word.replacen(release, "RELEASE", 1)
    } else if is_duration(core) {
        named("DURATION")
    } else {
        match core.split_once(['=', ':']).filter(|(_, value)| !value.is_empty()) {
            // `key=value` and `"key":value` are compared by the kind of the value.
            Some((key, value)) => word.replacen(core, &format!("{key}={}", kind(value, None)), 1),
            None => word.chars().filter(|sign| *sign != '─').collect(),
        }
    }
}

fn inner(word: &str) -> &str {
    word.trim_matches(|sign: char| !sign.is_alphanumeric())
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|sign| sign.is_ascii_digit() || sign == '.')
        && text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() >= digits && text.bytes().all(|sign| sign.is_ascii_hexdigit())
}

/// `2026-11-22T19:26:22Z` and the like, with a fraction or without.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|sign| if sign.is_ascii_digit() { '0' } else { sign }).take(19).collect();
    shape == "0000-00-00T00:00:00"
}

/// `88.588956]` of `dmesg`.
fn is_since_boot(word: &str) -> bool {
    let digits = word.strip_suffix(']').and_then(|time| time.split_once('.'));
    digits.is_some_and(|(seconds, rest)| is_number(seconds.trim_start_matches('[')) && rest.len() == 6)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| is_hex(part, 4))
}

/// Exemptions are numbered from the time since boot.
fn is_exemption(text: &str) -> bool {
    text.len() >= 4 && text.bytes().all(|sign| sign.is_ascii_digit())
}

/// `6.12.107+deb13-cloud-amd64`: Debian's kernels move on.
fn is_release(text: &str) -> bool {
    text.ends_with("-amd64") && text.starts_with(|sign: char| sign.is_ascii_digit())
}

fn is_duration(text: &str) -> bool {
    let unit = text.trim_start_matches(|sign: char| sign.is_ascii_digit() || sign == '.');
    unit.len() < text.len() && DURATIONS.contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(page: &str, real: &str) -> bool {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        agrees(&lines(page), &lines(real))
    }

    #[test]
    fn what_varies_is_compared_by_its_kind() {
        for (page, real) in [
            ("2026-11-22T19:26:22Z ready", "2027-01-02T03:04:05.678Z ready"),
            ("by ndctl (pid 103, uid 0)", "by ndctl (pid 9, uid 0)"),
            ("  uuid: \"65fe5411-5bc9-4a5a-8a0b-2aa9bd2f9ef9\",", "  uuid: \"75fe5411-5bc9-4a5a-8a0b-2aa9bd2f9ef9\","),
            ("Linux 6.12.107+deb13-cloud-amd64 a", "Linux   6.12.9-cloud-amd64 a"),
            ("in /lib/modules/6.12.107-amd64/kernel/a.ko)", "in /lib/modules/6.12.117-amd64/kernel/a.ko)"),
            ("seen 3 s ago", "seen 120ms ago"),
            ("for 1m 3s", "for 59s"),
            ("(stored at 0xffffffffc0499742)", "(stored at 0xffffffffc0123456)"),
            ("[   88.588956] dax_pmem dax0.0", "[  112.000001] dax_pmem dax0.0"),
            ("exemption 15442: the region", "exemption 9001: the region"),
        ] {
            assert!(same(page, real), "{page} / {real}");
        }
    }

    #[test]
    fn what_counts_is_compared_to_the_letter() {
        for (page, real) in [
            ("66 MiB", "65 MiB"),
            ("by ndctl (pid 103, uid 0)", "by ndctl (pid 103, uid 1)"),
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("size=1", "size=2"),
            ("region_start = 0x100000000", "region_start = 0x200000000"),
            ("in /lib/modules/6.12.107-amd64/kernel/a.ko)", "in /lib/modules/6.12.107-amd64/kernel/b.ko)"),
            ("seen 3 s ago", "seen never"),
        ] {
            assert!(!same(page, real), "{page} / {real}");
        }
    }

    #[test]
    fn lines_may_be_left_out_where_the_page_says_so() {
        assert!(same("a\n…\nd", "a\nb\nc\nd") && same("…\nd", "d") && same("a\n…", "a\n\n"));
        assert!(!same("a\n…\nd", "a\nb") && !same("a\n…", "b"));
    }
}
