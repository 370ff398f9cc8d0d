//! The line of a namespace that was there when observing began.

use std::time::UNIX_EPOCH;

use crate::{
    export::line,
    model::event::{Body, Event, Time},
    scan::existing::existing_namespace,
    testing::{tree::Pmem, view::scan},
};

const GIB: u64 = 1 << 30;

#[test]
fn the_line_says_what_it_costs() {
    let scan = scan(|tree| {
        tree.region(0, 4 * GIB, 128 * GIB)?;
        tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() })
    });
    let existing_namespace = existing_namespace(&scan.namespaces[0]).expect("map=dev");
    let event = Event::at(Time(UNIX_EPOCH), Body::ExistingNamespace(Box::new(existing_namespace)));
    assert_eq!(
        line::of(&event),
        "1970-01-01T00:00:00Z existing namespace0.0 of 16 GiB (fsdax, map=dev, align 2 MiB): 514 MiB reserved; OVERSIZE: \
         made by a kernel that reserves 128 bytes for each page: 256 MiB too much (by its bytes; the info block would \
         prove it)"
    );
}
