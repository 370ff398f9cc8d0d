//! The commands that restore an info block after a refused reconfigure has zeroed it.
//!
//! `ndctl create-namespace --reconfig` does more before it binds (ndctl/namespace.c, versions 65 to 81): it zeroes the
//! first 8 KiB in raw mode, gives the namespace another namespace uuid, the requested size, and the holder class of the
//! new mode. A kernel ignores a block if its parent uuid is not the namespace's (`nd_pfn_validate` in
//! drivers/nvdimm/pfn_devs.c, 6.1), or if the holder class is another's (`nd_pfn_probe`): so these are restored too.
//!
//! The commands are one subshell: a shell into which they are pasted reads them to their end before it runs any, and the
//! first that fails ends the others without closing that shell.

use pfnwatch_common::superblock::SuperblockKind;

use crate::model::info_block::SavedInfoBlock;

/// The commands for root's shell, in their order. The refused creation did not touch the data behind the block.
#[must_use]
pub fn commands(namespace: &str, kept: &SavedInfoBlock) -> Vec<String> {
    let file = format!("{namespace}.infoblock");
    let mut commands = vec![fetch(namespace, &file)];
    commands.extend(commands_from_file(namespace, &file, kept));
    commands
}

/// The command that writes the saved block into a file, and goes on to the others only if it did.
#[must_use]
pub fn fetch(namespace: &str, file: &str) -> String {
    format!("pfnwatch events restore-block {namespace} -o {file} &&")
}

#[must_use]
pub fn commands_from_file(namespace: &str, file: &str, kept: &SavedInfoBlock) -> Vec<String> {
    let sysfs = format!("/sys/bus/nd/devices/{namespace}");
    let start = kept.namespace.start_address;
    let mut commands = vec![
        "( set -eu".to_owned(),
        // libnvdimm numbers regions again when it is loaded: the address stays.
        format!(
            "grep -qx {start:#x} {sysfs}/resource || {{ echo 'STOP: {namespace} is another one by now' >&2; exit 1; }}"
        ),
        // Lets go of the seed that claims it, too.
        format!("ndctl disable-namespace {namespace}"),
    ];
    if let Some(uuid) = kept.namespace.namespace_uuid {
        // The kernel refuses the uuid that a namespace has already.
        commands.push(format!("grep -qx {uuid} {sysfs}/uuid || echo {uuid} >{sysfs}/uuid"));
        let size = kept.namespace.size_bytes;
        commands.push(format!("grep -qx {size} {sysfs}/size || echo {size} >{sysfs}/size"));
    }
    commands.push(holder_class(&sysfs, kept));
    commands.extend([
        format!("echo 1 >{sysfs}/force_raw"),
        format!("ndctl enable-namespace {namespace}"),
        format!("dd if={file} of=/dev/$(ls {sysfs}/block) bs=4096 seek=1 count=1 conv=fsync"),
        format!("ndctl disable-namespace {namespace}"),
        format!("echo 0 >{sysfs}/force_raw"),
        format!("ndctl enable-namespace {namespace}"),
        ")".to_owned(),
    ]);
    commands
}

/// The commands if the block is still on the media, and only the device over it was changed.
#[must_use]
pub fn commands_for_intact_block(namespace: &str) -> Vec<String> {
    vec![format!("ndctl disable-namespace {namespace}"), format!("ndctl enable-namespace {namespace}")]
}

fn holder_class(sysfs: &str, kept: &SavedInfoBlock) -> String {
    let class = match kept.block().kind {
        SuperblockKind::Pfn => "pfn",
        SuperblockKind::Dax => "dax",
    };
    let set = format!("grep -qx {class} {sysfs}/holder_class || echo {class} >{sysfs}/holder_class");
    if kept.namespace.namespace_uuid.is_some() {
        return set;
    }
    // Without labels the kernel takes the class and answers ENXIO, because there is no label to write it to.
    format!("{set} 2>/dev/null || true")
}
