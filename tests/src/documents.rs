//! Runs the documents for users: every command of a page is typed in a guest, and its output must match the page.
//!
//! A page's `console` blocks are one story: they run in their order, in a guest whose namespaces, event store and configuration are
//! empty when the page begins. A block that begins with ```` ```console regressed ```` belongs to another story of the same page, run on a
//! kernel with the regression. `# ` is root's prompt, `$ ` that of a user without privileges, `> ` goes on with a command. A block
//! ```` ```toml PATH ```` is that file. `pfnwatch run` stays until the page's end, and its output by then is compared.
//!
//! [`block`] reads a page, [`compare`] allows for what may differ, [`story`] types.

pub mod block;
pub mod compare;
pub mod story;

use serde::{Deserialize, Serialize};

/// The prefix on a line of the test's output.
const MARK: &str = "document: ";

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Update {
    pub page: String,
    /// The first line of the output that the page has, from 1.
    pub from: usize,
    /// The first line after it.
    pub to: usize,
    pub output: Vec<String>,
}

impl Update {
    pub fn to_line(&self) -> String {
        format!("{MARK}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// Parses such a line; text before the mark is ignored.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line.split_once(MARK)?.1.trim_end()).ok()
    }
}

pub fn updated(page: &str, updates: &[Update]) -> String {
    let mut lines: Vec<&str> = page.lines().collect();
    let mut updates: Vec<&Update> = updates.iter().collect();
    // From the end, so that the numbers of what is still to come hold.
    updates.sort_by_key(|update| std::cmp::Reverse(update.from));
    for update in updates {
        let range = update.from.saturating_sub(1).min(lines.len())..update.to.saturating_sub(1).min(lines.len());
        if range.start <= range.end {
            lines.splice(range, update.output.iter().map(String::as_str));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_replaced() {
        let update = |from, to, output: &str| Update { page: "a.md".into(), from, to, output: vec![output.into()] };
        let (first, second) = (update(3, 3, "new"), update(5, 7, "one"));
        assert_eq!(Update::from_line(&format!(" 6.12  |  {}\r", first.to_line())), Some(first.clone()));
        let page = "```\n# a\n# b\n...\nold\nold\n```\n";
        assert_eq!(updated(page, &[first, second]), "```\n# a\nnew\n# b\n...\none\n```\n");
    }
}
