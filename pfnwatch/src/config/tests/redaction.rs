//! No error of a configuration quotes a secret.

use crate::config::Config;
use crate::model::redact::redact_quotes;

#[test]
fn what_is_quoted_of_the_file_is_left_out() {
    for secret in [
        "url = \"https://user:hunter2@alerts.example.com/hunter2?token=hunter2\"\ntype = 5",
        "url = \"hunter2\"\nname = \"a\"\ntype = \"webhook\"",
        "bearer_token = \"hunter2\"",
        "url = \"user:hunter2@alerts.example.com\"\nname = \"a\"\ntype = \"webhook\"",
        "url = \"ftp://user:hunter2@x/hunter2?hunter2\"\nname = \"a\"\ntype = \"webhook\"",
        "url = \"https://user:hunter2@x/\" nonsense",
    ] {
        let error = Config::parse(&format!("[[alerts.receivers]]\n{secret}\n")).unwrap_err().to_string();
        let said = redact_quotes(&error);
        assert!(!said.contains("hunter2"), "{secret}: {said}");
        assert!(said.contains("line ") && said.contains("column "), "{secret}: {said}");
    }
}

#[test]
fn urls_are_masked_and_words_are_not() {
    for (text, expected) in [
        ("no URL: https://a:b@c.d:1/e?f=g.", "no URL: https://…@c.d:1/…."),
        ("\"http://[::1]:9464/\" is it", "\"http://[::1]:9464/\" is it"),
        ("https://hooks.example.com/T0/B0/xyz", "https://hooks.example.com/…"),
        ("x?token=1 a:b@c", "x?… …@c"),
        ("/etc/pfnwatch/config.toml: 5 of 7; why not", "/etc/pfnwatch/config.toml: 5 of 7; why not"),
    ] {
        assert_eq!(redact_quotes(text), expected);
    }
}
