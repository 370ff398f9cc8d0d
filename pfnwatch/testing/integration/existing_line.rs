//! The line of a namespace that existed before observation began.

use std::time::UNIX_EPOCH;

use crate::export::line;
use crate::model::event::{Body, Event, Time};
use crate::scan::existing::existing_namespace;
use crate::scan::existing::tests::scanned;

#[test]
fn the_line_says_what_it_costs() {
    let existing = existing_namespace(&scanned()[0]).expect("map=dev");
    let event = Event::at(Time(UNIX_EPOCH), Body::ExistingNamespace(Box::new(existing)));
    assert_eq!(
        line::of(&event),
        "1970-01-01T00:00:00Z existing namespace0.0 of 16 GiB (fsdax, map=dev, align 2 MiB): 514 MiB reserved; OVERSIZE: \
         made by a kernel that reserves 128 bytes for each page: 256 MiB too much"
    );
}
