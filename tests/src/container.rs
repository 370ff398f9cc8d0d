//! The container as a node would run it: an OCI bundle made of the Dockerfile and the DaemonSet that are given away, and crun.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::agent::Agent;
use crate::{command, debian, wait};

mod dockerfile;
mod spec;

use dockerfile::Dockerfile;

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
        let spec = spec::of(&image, &pod["containers"][0], &volumes)?;
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
        self.agent.remaining_events().pop().context("it said nothing")
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

/// The image: what this Debian has of the base that the binary is linked to, instead of the whole base, and the copied
/// files.
fn image_root(image: &Dockerfile, root: &Path) -> Result<()> {
    ensure!(image.base.starts_with("debian:"), "the image is no Debian: {}", image.base);
    for folder in ["usr/bin", "usr/lib", "usr/lib64", "etc", "tmp"] {
        create(&root.join(folder))?;
    }
    for folder in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{folder}"), root.join(folder)).with_context(|| format!("no link {folder}"))?;
    }
    for (from, to) in &image.copies {
        let from = Path::new(debian::PROGRAMS).join(from);
        copy(&from, root, to)?;
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
        let libraries = command::run("/usr/bin/ldd", &[&from.to_string_lossy()])?;
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), root, library)?;
        }
    }
    Ok(())
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
