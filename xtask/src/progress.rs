//! Bars and spinners on what takes long; a plain line where standard error is no terminal.

use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Parts of the set-up run side by side: their bars stand one below the other.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A spinner with the time that went by.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    bar(None, what, "{spinner} {wide_msg} {elapsed}")
}

/// A bar over a number of bytes.
pub(crate) fn bytes(what: &str, size_bytes: u64) -> ProgressBar {
    bar(Some(size_bytes), what, "{spinner} {msg} {wide_bar} {binary_bytes} of {binary_total_bytes}")
}

fn bar(length: Option<u64>, what: &str, template: &str) -> ProgressBar {
    if std::io::stderr().is_terminal() {
        let bar = BARS.add(length.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        // A template that does not parse would leave the library's own style.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    } else {
        note(&format!("{what} …"));
        ProgressBar::hidden()
    }
}

/// A line for people, above the bars.
pub(crate) fn note(text: &str) {
    BARS.suspend(|| eprintln!("{text}"));
}
