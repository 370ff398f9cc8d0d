//! A host's report, as `fleet report` finds it in a folder.

use std::fs;

use pfnwatch::cli::fleet::{Fleet, files};

use crate::scratch;

/// A file is one host, or listed as not counted; no value in it overflows the sums.
pub fn check(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir_in(scratch()) else { return };
    // Two hosts with the same sums, unless the report names its host: then the second is not counted.
    let written = ["one.json", "two.json"].map(|name| fs::write(folder.path().join(name), bytes));
    if written.iter().any(Result::is_err) {
        return;
    }
    let mut fleet = Fleet::keeping(1);
    let added = files::add(folder.path(), &mut fleet);
    assert!(added.is_ok(), "{added:?}");
    let counted = fleet.totals().hosts + fleet.uncounted().count;
    assert_eq!(counted, 2, "{fleet:?}");
    assert!(fleet.worst().len() <= 1, "{fleet:?}");
    let _ = (fleet.releases(), fleet.regressed());
}
