//! docs/reference/reports.md: what the commands write as JSON.

use std::fmt::Write as _;

use super::bundle::{bundle, written};
use super::fields::{Page, description};

const HEAD: &str = "\
<!-- Written by `cargo xtask docs`: change the code, not this page. -->
# Reports

What the commands write with `--format json`, what goes over the control socket, and what a webhook is sent. `pfnwatch schema` lists the
JSON schemas (draft 2020-12), `pfnwatch schema NAME` prints one, and `pfnwatch schema --all DIR` writes them all. [Events](events.md)
have a page of their own.

**What stays.** Every document has `\"schema\": 1`. With the same number a later version may have more keys, more kinds of events and more
values of an enumeration; none goes away, and none changes its type or meaning: that would make it `\"schema\": 2`. So leave out what you
do not know. The schemas allow further keys, and list the values of the version that printed them.

";

pub(super) fn page() -> String {
    let bundle = bundle();
    let mut page = Page::new(&bundle);
    let mut text = HEAD.to_owned();
    for it in written() {
        let _ = writeln!(text, "- [{}](#{}): `{}`", it.name, it.name, it.by);
    }
    for it in written() {
        let schema = page.named(it.name);
        let _ = write!(text, "\n## {}\n`{}`: {}\n\n{}", it.name, it.by, description(schema), page.table(schema));
    }
    text + "\n## Types\n" + &page.types()
}
