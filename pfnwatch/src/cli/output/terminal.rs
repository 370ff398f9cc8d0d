//! What the place can show that a report is written to.

use std::env;
use std::io::{self, Write as _};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    pub colour: bool,
    pub unicode: bool,
}

impl Terminal {
    /// Standard output: colours only on a terminal, and never with NO_COLOR (<https://no-color.org>).
    #[must_use]
    pub fn stdout() -> Self {
        Self::stream(&io::stdout())
    }

    /// Standard error, likewise: output to journald or a file has no colours.
    #[must_use]
    pub fn stderr() -> Self {
        Self::stream(&io::stderr())
    }

    fn stream(stream: &impl io::IsTerminal) -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = stream.is_terminal() && !set("NO_COLOR") && !dumb;
        Self { colour, ..Self::file() }
    }

    /// A file: the locale decides about characters, by POSIX's order of its variables.
    #[must_use]
    pub fn file() -> Self {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
        Self { colour: false, unicode: locale.is_some_and(|locale| is_utf8(&locale)) }
    }
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Prints a whole report. A reader that closes the pipe early (`| head`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn locales() {
        assert!(is_utf8("en_US.UTF-8") && is_utf8("C.utf8"));
        assert!(!is_utf8("C") && !is_utf8("de_DE.ISO-8859-1"));
    }
}
