//! The commands of a rebuild, line by line. Lines that begin with `#` are for a person to fill in.

use pfnwatch_common::Map;

use crate::{
    model::{
        facts::{NamespaceMode, map_name},
        scan_result::AssessedNamespace,
    },
    sysfs::inventory::{detail::Detail, usage::Usage},
};

pub(super) struct PlanTarget<'a> {
    pub(super) judged: &'a AssessedNamespace,
    pub(super) detail: Option<&'a Detail>,
    /// The align to keep, in bytes.
    pub(super) align: u64,
    pub(super) usage: &'a Usage,
}

/// Destroys the old block and has the kernel make a new one.
pub(super) fn rebuild(target: &PlanTarget<'_>, map: Map) -> Vec<String> {
    let namespace = &target.judged.namespace.name;
    let mut lines = unmount_commands(target);
    lines.push(format!(
        "ndctl create-namespace --force --reconfig={namespace} --mode={} --map={} --align={}{}",
        target.judged.mode(),
        map_name(map),
        target.align,
        no_autolabel(target)
    ));
    lines.extend(check_commands(target));
    lines
}

/// Writes a block that reserves 64 bytes for each page, which every kernel accepts.
pub(super) fn write_infoblock(target: &PlanTarget<'_>) -> Vec<String> {
    let namespace = &target.judged.namespace.name;
    let mode = target.judged.mode();
    let mut lines = unmount_commands(target);
    lines.extend([
        format!("ndctl create-namespace --force --reconfig={namespace} --mode=raw{}", no_autolabel(target)),
        format!("ndctl disable-namespace {namespace}"),
        format!("ndctl write-infoblock --mode={mode} --map=dev --align={} {namespace}", target.align),
        format!("ndctl enable-namespace {namespace}"),
    ]);
    lines.extend(check_commands(target));
    lines
}

fn unmount_commands(target: &PlanTarget<'_>) -> Vec<String> {
    let namespace = &target.judged.namespace;
    let mut lines = vec![format!("# back up what is in {}", device(target))];
    let disk = namespace.disk().unwrap_or_default();
    lines.extend(target.usage.mounts_of(&disk).map(|mount| format!("umount {}", quote(&mount.place))));
    if namespace.system_ram {
        let device = namespace.character_device().unwrap_or_default();
        lines.push(format!("daxctl reconfigure-device --force --mode=devdax {device}"));
    }
    lines.push(format!("ndctl disable-namespace {}", namespace.name));
    lines.push(format!("ndctl read-infoblock {0} --output={0}.infoblock", namespace.name));
    lines
}

fn check_commands(target: &PlanTarget<'_>) -> Vec<String> {
    let name = &target.judged.namespace.name;
    let restore = format!("# restore to {}, which is larger now", device(target));
    let verify =
        format!("pfnwatch scan --format json | jq '.namespaces[] | select(.namespace == \"{name}\") | .verdict'");
    vec![verify, restore]
}

fn device(target: &PlanTarget<'_>) -> String {
    let namespace = &target.judged.namespace;
    let name = match target.judged.facts.mode {
        NamespaceMode::Devdax => namespace.character_device(),
        _ => namespace.disk(),
    };
    format!("/dev/{}", name.unwrap_or_default())
}

/// Without labels, ndctl must not write any by itself: the namespace's name would change.
fn no_autolabel(target: &PlanTarget<'_>) -> &'static str {
    let label_less = target.detail.is_some_and(|detail| detail.nstype == Ok(4));
    if label_less { " --no-autolabel" } else { "" }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_for_the_shell() {
        for (word, quoted) in
            [("/mnt/a", "/mnt/a"), ("/mnt/my data", "'/mnt/my data'"), ("a'b", "'a'\\''b'"), ("", "''")]
        {
            assert_eq!(quote(word), quoted);
        }
    }
}
