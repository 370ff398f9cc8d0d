//! One page's commands, typed in a guest.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::block::{self, Block, User};
use super::{Update, compare};
use crate::{command, guard, regions, sysfs, wait};

pub const PAGES: &str = "/pages";
const HERE: &str = "/run/here";
const HOST: &str = "db1";
/// What an earlier page may have left.
const LEFT: [&str; 3] = ["/var/lib/pfnwatch", "/etc/pfnwatch", HERE];
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const END_TIMEOUT: Duration = Duration::from_secs(20);
const OUTPUT: &str = "/run/typed";

/// Runs the commands of a page for this kind of kernel; the error has the expected output.
pub fn run(page: &str, regressed: bool) -> Result<()> {
    let text = fs::read_to_string(Path::new(PAGES).join(page)).with_context(|| format!("cannot read {page}"))?;
    let blocks: Vec<Block> = block::blocks(&text).into_iter().filter(|block| block.is_for(regressed)).collect();
    ensure!(blocks.iter().any(|block| block.language == "console"), "{page} shows no command for this kernel");
    let mut story = Session::begin(page)?;
    blocks.iter().try_for_each(|block| story.go_on(block))?;
    let updates = story.end()?;
    for update in &updates {
        println!("{}", update.to_line());
    }
    let wrong = updates.len();
    ensure!(wrong == 0, "the output of {wrong} commands differs from {page}: `cargo xtask docs --update` updates it");
    Ok(())
}

struct Session {
    page: String,
    agents: Vec<(Running, block::Command)>,
    updates: Vec<Update>,
}

impl Session {
    fn begin(page: &str) -> Result<Self> {
        for left in LEFT {
            let _ = fs::remove_dir_all(left);
        }
        regions::fresh()?;
        nix::unistd::sethostname(HOST).context("no name for this host")?;
        // Kernel messages of other tests do not show.
        command::run("/bin/dmesg", &["--clear"])?;
        fs::create_dir_all(HERE).with_context(|| format!("cannot create {HERE}"))?;
        Ok(Self { page: page.to_owned(), agents: Vec::new(), updates: Vec::new() })
    }

    fn go_on(&mut self, block: &Block) -> Result<()> {
        match (block.language.as_str(), block.words.first()) {
            ("console", _) => block.commands().into_iter().try_for_each(|command| self.type_in(command)),
            ("toml", Some(path)) => {
                let file = Path::new(HERE).join(path);
                file.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(&file, block.body.join("\n") + "\n").with_context(|| format!("no {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    fn type_in(&mut self, command: block::Command) -> Result<()> {
        // It goes on while the rest is typed.
        if is_agent(&command.text) {
            let output = format!("{OUTPUT}-{}", self.agents.len());
            let agent = Running::start(&command, Path::new(&output))?;
            let judges = || guard::request(&json!("status")).ok().filter(guard::is_armed);
            wait::until("an agent that judges", READY_TIMEOUT, judges).with_context(|| agent.output().join("\n"))?;
            self.agents.push((agent, command));
            return Ok(());
        }
        let mut running = Running::start(&command, Path::new(OUTPUT))?;
        running.child.wait().with_context(|| format!("{} does not end", command.text))?;
        self.compare(&command, &running.output());
        self.wait_for_output().with_context(|| command.text)
    }

    /// A test types faster than a person: waits until the command's effects are over, and the agent has reported them.
    fn wait_for_output(&self) -> Result<()> {
        sysfs::devices("region").first().map_or(Ok(()), |region| sysfs::wait_for_seed(region))?;
        if self.agents.is_empty() {
            return Ok(());
        }
        wait::until("an agent that has reported everything", READY_TIMEOUT, || {
            let answer = guard::request(&json!("status")).ok()?;
            let count = |what| answer.pointer(&format!("/answer/status/{what}"))?.as_u64();
            (count("records/received")? >= count("counters/emitted")?).then_some(())
        })
    }

    fn compare(&mut self, command: &block::Command, real: &[String]) {
        if !compare::agrees(&command.output, real) {
            let output = compare::trimmed(real).iter().map(|line| line.trim_end().to_owned()).collect();
            let (page, from) = (self.page.clone(), command.lines.start);
            self.updates.push(Update { page, from, to: command.lines.end, output });
        }
    }

    /// Ends what still runs, the way Ctrl-C does.
    fn end(mut self) -> Result<Vec<Update>> {
        for (mut agent, command) in std::mem::take(&mut self.agents) {
            let pid = Pid::from_raw(i32::try_from(agent.child.id())?);
            kill(pid, Signal::SIGINT).context("the agent has ended before")?;
            wait::exit_of("the agent", &mut agent.child, END_TIMEOUT)?;
            self.compare(&command, &agent.output());
        }
        Ok(self.updates)
    }
}

struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    fn start(command: &block::Command, output: &Path) -> Result<Self> {
        let file = File::create(output).with_context(|| format!("cannot create {}", output.display()))?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &redirected(&command.text)]).current_dir(HERE).env("LANG", "C.UTF-8");
        if command.user == User::Nobody {
            shell.uid(command::NOBODY).gid(command::NOBODY);
        }
        let child = shell.stdin(Stdio::null()).stdout(file).spawn().context("no shell")?;
        Ok(Self { child, output: output.to_path_buf() })
    }

    fn output(&self) -> Vec<String> {
        let text = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

/// As a terminal shows it. The agent's log messages come at any time, and are left out; the agent must be the shell's
/// own process, to get its signals.
fn redirected(text: &str) -> String {
    if is_agent(text) { format!("exec {text} 2>/dev/null") } else { format!("exec 2>&1; {text}") }
}

/// Whether it runs until it is signalled.
fn is_agent(text: &str) -> bool {
    text.starts_with("pfnwatch run") && !text.contains("--help")
}
