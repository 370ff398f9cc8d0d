//! Made-up hosts in which each kind of user has a namespace's device.

use std::os::unix::fs::symlink;

use super::*;
use crate::model::inventory::Inventory;
use crate::testing::tree::{Pmem, Tree};

/// Namespace 0.0 is fsdax, 0.1 is devdax.
fn users(namespace: usize, build: impl Fn(&Path)) -> Vec<[String; 2]> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let tree = Tree::new(root).unwrap();
    tree.namespace(&Pmem::default()).unwrap();
    tree.namespace(&Pmem { id: 1, dax: true, ..Pmem::default() }).unwrap();
    put(root, "block/pmem0/dev", "259:0");
    put(root, "block/pmem0.1/dev", "259:9");
    build(root);
    let roots = SysfsRoots { sysfs: root.to_owned(), procfs: root.join("proc"), dev: None };
    let namespaces = Inventory::read(&roots).unwrap().namespaces;
    let found = Usage::gather(&roots).of(&namespaces[namespace]);
    found.into_iter().map(|found| [found.user, found.command]).collect()
}

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("{text}\n")).unwrap();
}

fn told(users: &[[String; 2]]) -> Vec<[&str; 2]> {
    users.iter().map(|[user, command]| [user.as_str(), command.as_str()]).collect()
}

#[test]
fn what_nobody_uses_has_no_users() {
    assert!(users(0, |root| put(root, "proc/7/mountinfo", "1 1 259:9 / /a rw - xfs /dev/pmem0.1 rw")).is_empty());
}

#[test]
fn a_partition_below_lvm_is_freed_from_the_top() {
    let users = users(0, |root| {
        put(root, "block/pmem0/pmem0p1/dev", "259:1");
        fs::create_dir_all(root.join("block/pmem0/pmem0p1/holders/dm-0")).unwrap();
        put(root, "block/dm-0/dev", "253:0");
        put(root, "block/dm-0/dm/name", "vg0-data");
        put(root, "block/dm-0/dm/uuid", "LVM-abc");
        put(root, "proc/self/mountinfo", "9 1 253:0 / /mnt/my\\040data rw - xfs /dev/mapper/vg0-data rw");
    });
    let expected = [
        ["/dev/dm-0 is mounted at /mnt/my data (xfs)", "umount '/mnt/my data'"],
        ["/dev/pmem0p1 is claimed by dm-0 (vg0-data)", "lvchange --activate n /dev/mapper/vg0-data"],
        ["/dev/pmem0 has partitions (pmem0p1)", "partx --delete /dev/pmem0"],
    ];
    assert_eq!(told(&users), expected);
}

#[test]
fn swap_md_and_loop_devices() {
    let users = users(0, |root| {
        fs::create_dir_all(root.join("block/pmem0/holders/md127")).unwrap();
        put(root, "block/loop0/loop/backing_file", "/dev/pmem0");
        put(root, "proc/swaps", "Filename Type Size Used Priority\n/dev/pmem0 partition 1 0 -2");
    });
    let expected = [
        ["/dev/pmem0 is claimed by md127", "mdadm --stop /dev/md127"],
        ["/dev/pmem0 is below the loop device loop0", "losetup --detach /dev/loop0"],
        ["/dev/pmem0 is swap", "swapoff /dev/pmem0"],
    ];
    assert_eq!(told(&users), expected);
}

#[test]
fn mounts_by_number_by_log_and_in_other_namespaces() {
    let users = users(0, |root| {
        put(root, "proc/self/mountinfo", "1 1 8:1 / /data rw - xfs /dev/sda1 rw,logdev=/dev/pmem0,noquota");
        put(root, "proc/40/mountinfo", "1 1 259:0 / /srv rw - xfs /dev/somewhere rw");
        put(root, "proc/41/mountinfo", "1 1 259:0 / /srv rw - xfs /dev/somewhere rw");
    });
    let expected = [
        [
            "/dev/pmem0 is mounted at /srv (xfs), in the mount namespace of process 40",
            "nsenter --mount=/proc/40/ns/mnt umount /srv",
        ],
        ["/dev/pmem0 is the logdev of /data (xfs)", "umount /data"],
    ];
    assert_eq!(told(&users), expected);
}

#[test]
fn processes_and_the_kernel_have_it_open() {
    let users = users(1, |root| {
        fs::create_dir_all(root.join("proc/42/fd")).unwrap();
        symlink("/dev/pmem0.1", root.join("proc/42/fd/3")).unwrap();
        symlink("/dev/pmem0", root.join("proc/42/fd/4")).unwrap();
        put(root, "proc/42/comm", "qemu");
        put(root, "proc/42/maps", "7f00-7f01 rw-s 00000000 00:06 99   /dev/dax0.1\nffff [heap]");
        Tree::new(root).unwrap().dax_driver(&Pmem { id: 1, dax: true, ..Pmem::default() }, "kmem").unwrap();
    });
    let expected = [
        ["/dev/pmem0.1 is open in process 42 (qemu)", "kill 42"],
        ["/dev/dax0.1 is open in process 42 (qemu)", "kill 42"],
        ["dax0.1 is in use as system RAM", "daxctl reconfigure-device --force --mode=devdax dax0.1"],
    ];
    assert_eq!(told(&users), expected);
}

#[test]
fn partitions_are_not_other_namespaces() {
    for (name, is) in [("pmem0p1", true), ("pmem0.1", false), ("pmem0p", false), ("pmem1p1", false)] {
        assert_eq!(is_partition(name, "pmem0"), is, "{name}");
    }
}
