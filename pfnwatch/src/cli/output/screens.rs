//! Screens of commands, compared with those in `pfnwatch/testing/snapshots`. `INSTA_UPDATE=always cargo test` writes them
//! again: read the difference before you commit it.

use super::terminal::Terminal;

/// Every kind of output: a file in the POSIX locale, a file, and a terminal.
pub(crate) const TERMINALS: [(&str, Terminal); 3] = [
    ("ascii", Terminal { colour: false, unicode: false }),
    ("utf8", Terminal { colour: false, unicode: true }),
    ("colour", Terminal { colour: true, unicode: true }),
];

/// Compares a screen with the snapshot of this name. Escapes of colours are shown as `␛`.
pub(crate) fn compare(name: &str, screen: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/testing/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, screen.replace('\u{1b}', "␛")));
}
