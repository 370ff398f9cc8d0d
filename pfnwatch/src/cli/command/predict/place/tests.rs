use super::*;
use crate::sysfs::inventory::SysfsRoots;

use crate::testing::tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;

fn inventory(namespaces: &[(u64, u64)]) -> Inventory {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    for (id, (start, size)) in (0..).zip(namespaces) {
        tree.namespace(&Pmem { id, start: *start, size: *size, ..Pmem::default() }).unwrap();
    }
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    Inventory::read(&roots).unwrap()
}

#[test]
fn the_first_stretch_that_suffices() {
    let inventory = inventory(&[(6 * GIB, 4 * GIB), (20 * GIB, 16 * GIB)]);
    for (size, start) in [(GIB, 4), (2 * GIB, 4), (8 * GIB, 10), (30 * GIB, 36)] {
        assert_eq!(find(&inventory, "region0", Some(size)).unwrap().start, Some(start * GIB));
    }
    let whole = find(&inventory, "region0", None).unwrap();
    assert_eq!((whole.size, whole.ways, whole.region_align), (64 * GIB, 1, Some(16 << 20)));
}

#[test]
fn what_is_not_there_is_named() {
    let error = find(&inventory(&[]), "region7", Some(GIB)).unwrap_err();
    assert!(error.to_string().contains("region0"), "{error}");
    assert_eq!(crate::model::exit::Exit::from_error(&error), crate::model::exit::Exit::Usage);
    let error = find(&inventory(&[]), "region0", Some(65 * GIB)).unwrap_err();
    assert!(error.to_string().contains("largest free stretch is 64 GiB"), "{error}");
}
