//! The container as a node would run it: an OCI bundle made of the shipped Dockerfile and DaemonSet, and crun.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::agent::Agent;
use crate::{command, debian, wait};

const DOCKERFILE: &str = include_str!("../../pfnwatch/dist/container/Dockerfile");
const MANIFEST: &str = include_str!("../../pfnwatch/dist/kubernetes/pfnwatch.yaml");

const CRUN: &str = "/usr/bin/crun";
const NAME: &str = "pfnwatch";
const TIMEOUT: Duration = Duration::from_secs(60);

type Volume = (String, PathBuf);

/// A running container. Dropping it kills it, and removes all that was made for it.
pub struct Container {
    bundle: PathBuf,
    /// Folders of the host that were made for the manifest.
    made: Vec<PathBuf>,
    pub agent: Agent,
    pub pid: Pid,
}

impl Container {
    pub fn start(folder: &Path) -> Result<Self> {
        let bundle = folder.join(NAME);
        let documents = YamlLoader::load_from_str(MANIFEST).context("the manifest is no YAML")?;
        let of_kind = |kind: &str| documents.iter().find(|it| text(&it["kind"]) == Some(kind));
        let pod = &of_kind("DaemonSet").context("no DaemonSet")?["spec"]["template"]["spec"];
        let config = &of_kind("ConfigMap").context("no ConfigMap")?["data"];
        let image = Dockerfile::parse(DOCKERFILE)?;
        image_root(&image, &bundle.join("root"))?;
        let (volumes, made) = volumes(pod, config, &bundle.join("config"))?;
        let spec = oci_config(&image, &pod["containers"][0], &volumes)?;
        fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&spec)?).context("no config.json")?;
        let pid_file = bundle.join("pid");
        let mut run = Command::new(CRUN);
        // Without the system's D-Bus, over which crun would ask systemd for a cgroup.
        run.args(["--cgroup-manager=cgroupfs", "run", "--pid-file"]).arg(&pid_file).arg("--bundle").arg(&bundle);
        let mut agent = Agent::spawn_by(run.arg(NAME))?;
        let started = || fs::read_to_string(&pid_file).ok()?.trim().parse().ok().map(Pid::from_raw);
        let pid = wait::until("a container", TIMEOUT, started).with_context(|| agent.output())?;
        Ok(Self { bundle, made, agent, pid })
    }

    /// Ends it as a node does, and returns its last event.
    pub fn stop(&mut self) -> Result<Value> {
        command::run(CRUN, &["--cgroup-manager=cgroupfs", "kill", NAME, "TERM"])?;
        let status = self.agent.wait_for_exit()?;
        ensure!(status.success(), "the container ended with {status}{}", self.agent.output());
        self.agent.remaining_events().pop().context("it printed nothing")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = command::attempt(CRUN, &["--cgroup-manager=cgroupfs", "delete", "--force", NAME]);
        for folder in self.made.iter().chain([&self.bundle]) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The image: the copied files, and nothing else.
fn image_root(image: &Dockerfile, root: &Path) -> Result<()> {
    ensure!(image.base == "scratch", "the image has a base: {}", image.base);
    create(root)?;
    image.copies.iter().try_for_each(|(from, to)| copy(&Path::new(debian::PROGRAMS).join(from), root, to))
}

/// The volumes with their paths on the host, made if the manifest asks for it; and which were made.
fn volumes(pod: &Yaml, config: &Yaml, config_folder: &Path) -> Result<(Vec<Volume>, Vec<PathBuf>)> {
    let (mut volumes, mut made) = (Vec::new(), Vec::new());
    for volume in pod["volumes"].as_vec().context("no volumes")? {
        let (name, host) = (text(&volume["name"]).context("a volume without a name")?, &volume["hostPath"]);
        let place = match (text(&host["path"]), text(&host["type"])) {
            (Some(path), Some("Directory")) => PathBuf::from(path),
            (Some(path), Some("DirectoryOrCreate")) => {
                let path = PathBuf::from(path);
                ensure!(!path.exists(), "{} is there already, and would be removed afterwards", path.display());
                create(&path)?;
                made.push(path.clone());
                path
            }
            (None, None) if !volume["configMap"].is_badvalue() => {
                create(config_folder)?;
                for (name, data) in config.as_hash().context("the ConfigMap is empty")? {
                    let (name, data) = text(name).zip(text(data)).context("no text in the ConfigMap")?;
                    fs::write(config_folder.join(name), data).with_context(|| format!("cannot write {name}"))?;
                }
                config_folder.to_owned()
            }
            other => bail!("volume {name} is of an unknown kind: {other:?}"),
        };
        ensure!(place.is_dir(), "{} is no folder, and a node would not start the pod", place.display());
        volumes.push((name.to_owned(), place));
    }
    Ok((volumes, made))
}

fn text(yaml: &Yaml) -> Option<&str> {
    yaml.as_str()
}

fn texts(yaml: &Yaml) -> Result<Vec<String>> {
    let list = yaml.as_vec().context("no list")?;
    list.iter().map(|it| Ok(text(it).context("no text in a list")?.to_owned())).collect()
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn copy(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to.trim_start_matches('/'));
    create(to.parent().unwrap_or(root))?;
    fs::copy(from, &to).map(drop).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[derive(Debug, Default)]
struct Dockerfile {
    base: String,
    copies: Vec<(String, String)>,
    user: (u32, u32),
    /// The program with its first arguments; a pod's arguments follow.
    entrypoint: Vec<String>,
}

impl Dockerfile {
    /// An unsupported instruction is an error: it might matter.
    fn parse(text: &str) -> Result<Self> {
        let mut file = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (instruction, rest) = line.split_once(' ').with_context(|| format!("no instruction: {line}"))?;
            match instruction {
                "FROM" => rest.clone_into(&mut file.base),
                "COPY" => {
                    let (from, to) = rest.split_once(' ').with_context(|| format!("no copy of one file: {line}"))?;
                    file.copies.push((from.to_owned(), to.to_owned()));
                }
                "USER" => {
                    let numbers = rest.split_once(':').with_context(|| format!("no numbers: {line}"))?;
                    file.user = (numbers.0.parse()?, numbers.1.parse()?);
                }
                "ENTRYPOINT" => file.entrypoint = serde_json::from_str(rest)?,
                // A word to people; and what a pod with arguments of its own does not take.
                "EXPOSE" | "CMD" => {}
                _ => bail!("an instruction that the test does not know: {line}"),
            }
        }
        Ok(file)
    }
}

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

fn oci_config(image: &Dockerfile, container: &Yaml, volumes: &[Volume]) -> Result<Value> {
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
