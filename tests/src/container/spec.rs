//! What a node makes of the pod for its runtime: the OCI's config.json.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use yaml_rust2::Yaml;

use super::dockerfile::Dockerfile;
use super::{Volume, text, texts};

/// What a node's runtime hides or protects in every container that is not privileged.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn of(image: &Dockerfile, container: &Yaml, volumes: &[Volume]) -> Result<Value> {
    let context = &container["securityContext"];
    ensure!(context["privileged"].is_badvalue(), "the pod is privileged");
    ensure!(texts(&context["capabilities"]["drop"])? == ["ALL"], "the pod keeps the usual capabilities");
    let capabilities = texts(&context["capabilities"]["add"])?;
    let capabilities: Vec<_> = capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    let uid = context["runAsUser"].as_i64().unwrap_or(i64::from(image.user.0));
    let limit = text(&container["resources"]["limits"]["memory"]).and_then(|limit| limit.strip_suffix("Mi"));
    let limit: i64 = limit.context("no limit in Mi")?.parse()?;
    let args = [image.entrypoint.clone(), texts(&container["args"])?].concat();
    let namespaces = ["pid", "ipc", "uts", "mount", "network", "cgroup"].map(|kind| json!({ "type": kind }));
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": uid, "gid": image.user.1 },
            "args": args,
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
            // Not inheritable, and not ambient.
            "capabilities": { "bounding": &capabilities, "effective": &capabilities, "permitted": &capabilities },
            // As with CAP_SYS_ADMIN it has to be.
            "noNewPrivileges": false,
        },
        "root": { "path": "root", "readonly": context["readOnlyRootFilesystem"].as_bool().unwrap_or(false) },
        "hostname": "pod",
        "mounts": mounts(container, volumes)?,
        "linux": {
            "namespaces": namespaces,
            "resources": { "memory": { "limit": limit << 20 } },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }))
}

fn mounts(container: &Yaml, volumes: &[Volume]) -> Result<Vec<Value>> {
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"] }),
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
    ];
    for mount in container["volumeMounts"].as_vec().context("no mounts")? {
        let (name, at) = text(&mount["name"]).zip(text(&mount["mountPath"])).context("a mount without a name")?;
        let (_, place) = volumes.iter().find(|(it, _)| it == name).with_context(|| format!("no volume {name}"))?;
        let read_only = mount["readOnly"].as_bool().unwrap_or(false);
        let access = if read_only { "ro" } else { "rw" };
        mounts.push(
            json!({ "destination": at, "type": "bind", "source": place, "options": ["rbind", "rprivate", access] }),
        );
    }
    Ok(mounts)
}
