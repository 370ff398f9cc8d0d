//! Bars and spinners on what takes long; a plain line where standard error is no terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A spinner with the time that went by.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    bar(None, what, "{spinner} {wide_msg} {elapsed}")
}

/// A bar over a number of bytes.
pub(crate) fn bytes(what: &str, size_bytes: u64) -> ProgressBar {
    bar(Some(size_bytes), what, "{spinner} {msg} {wide_bar} {binary_bytes} of {binary_total_bytes}")
}

fn bar(length: Option<u64>, what: &str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    if std::io::stderr().is_terminal() {
        // A template that does not parse would leave the library's own style.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
    } else {
        eprintln!("{what} …");
    }
    bar
}
