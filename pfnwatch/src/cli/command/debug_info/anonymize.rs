//! Replaces host names and uuids, each by the same name wherever it is.

use std::collections::BTreeMap;

/// What was replaced by what.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of this host, in lower case.
    own: Vec<String>,
    hosts: BTreeMap<String, String>,
    uuids: BTreeMap<String, String>,
}

const UUID_LENGTH: usize = 36;

impl Names {
    /// For the name of this host, with its domain or without.
    pub(super) fn of_host(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let short = name.split('.').next().unwrap_or_default().to_owned();
        // The longer first: it contains the other.
        let mut own = vec![name, short];
        own.retain(|name| !name.is_empty() && name != "localhost");
        own.dedup();
        Self { own, ..Self::default() }
    }

    /// The text with other names and uuids. Words that are equal to the host's short name are replaced, too.
    pub(super) fn replace(&mut self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let before = replaced.chars().next_back();
            let (length, other) = if is_word(before) {
                (first.len_utf8(), None)
            } else {
                self.name_at(rest, replaced.ends_with("://") || replaced.ends_with('@'))
                    .map_or((first.len_utf8(), None), |(length, other)| (length, Some(other)))
            };
            let (taken, behind) = rest.split_at(length);
            replaced.push_str(other.as_deref().unwrap_or(taken));
            rest = behind;
        }
        replaced
    }

    /// The name with which `text` begins: its length, and what replaces it.
    fn name_at(&mut self, text: &str, in_url: bool) -> Option<(usize, String)> {
        if let Some(uuid) = text.get(..UUID_LENGTH).filter(|uuid| is_uuid(uuid))
            && !is_word(text.get(UUID_LENGTH..)?.chars().next())
        {
            return Some((UUID_LENGTH, self.uuid(&uuid.to_ascii_lowercase())));
        }
        let ends = |length: usize| !is_word(text.get(length..).and_then(|behind| behind.chars().next()));
        let own = self
            .own
            .iter()
            .find(|own| text.get(..own.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(own)) && ends(own.len()));
        if let Some(own) = own {
            return Some((own.len(), "this-host".to_owned()));
        }
        let length = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))).unwrap_or(text.len());
        let host = text.get(..length).filter(|host| in_url && !host.is_empty())?;
        // Of `user:password@host` the first part is no host; the configuration shows no such thing.
        let number = self.hosts.len() + 1;
        let other = self.hosts.entry(host.to_owned()).or_insert_with(|| format!("host-{number}"));
        Some((length, other.clone()))
    }

    /// The nil uuid is no identity.
    fn uuid(&mut self, uuid: &str) -> String {
        if uuid.chars().all(|c| matches!(c, '0' | '-')) {
            return uuid.to_owned();
        }
        let number = self.uuids.len() + 1;
        self.uuids.entry(uuid.to_owned()).or_insert_with(|| format!("00000000-0000-4000-8000-{number:012x}")).clone()
    }
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

fn is_uuid(text: &str) -> bool {
    text.char_indices().all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "6EE5C199-bbe8-42f6-9ea1-20b61fde34a7";

    #[test]
    fn uuids_stay_distinct_and_equal() {
        let mut names = Names::default();
        let other = "7a0c4a12-0000-4000-8000-20b61fde34a7";
        let text = format!("\"uuid\":\"{UUID}\", {other} {}", UUID.to_ascii_lowercase());
        let first = "00000000-0000-4000-8000-000000000001";
        let second = "00000000-0000-4000-8000-000000000002";
        assert_eq!(names.replace(&text), format!("\"uuid\":\"{first}\", {second} {first}"));
        assert_eq!(names.replace(other), second);
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(names.replace(nil), nil);
        // A hash, and what only looks like a uuid.
        let hash = "6ee5c199bbe842f69ea120b61fde34a7";
        assert_eq!(names.replace(hash), hash);
        assert_eq!(names.replace(&format!("{other}f")), format!("{other}f"));
    }

    #[test]
    fn host_names_are_replaced_as_words_and_in_urls() {
        let mut names = Names::of_host("Web1.example.org");
        let text = "web1: kernel on web1.example.org, WEB1.EXAMPLE.ORG; web10 my-web1";
        assert_eq!(names.replace(text), "this-host: kernel on this-host, this-host; web10 my-web1");
        let urls =
            "url = \"https://alerts.example.org:9093/…\" and http://…@10.1.2.3/ then https://alerts.example.org/";
        let replaced = names.replace(urls);
        assert_eq!(replaced, "url = \"https://host-1:9093/…\" and http://…@host-2/ then https://host-1/");
        assert_eq!(Names::of_host("").replace("a b"), "a b");
    }

    proptest! {
        #[test]
        fn no_identity_is_left(before in "[a-z :\"]{0,9}[ :\"]", after in "[ ,\"][a-zé]{0,9}", uuid in any::<u128>()) {
            let uuid = uuid::Uuid::from_u128(uuid | 1 << 127).to_string();
            let text = format!("{before}{uuid}{after} node7.lab{after}");
            let replaced = Names::of_host("node7.lab").replace(&text);
            prop_assert!(!replaced.contains(&uuid) && !replaced.contains("node7"), "{}", replaced);
        }

        #[test]
        fn no_text_panics(text in ".{0,120}", name in ".{0,12}") {
            let _ = Names::of_host(&name).replace(&text);
        }
    }
}
