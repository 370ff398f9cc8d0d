//! bpftrace beside the guard: what people would look with. It can only look: a denial takes an LSM program, which it does
//! not load.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{JUDGEMENT, TRACER, TRACER_LOADER};
use crate::bpf::{self, ObjectKind};
use crate::wait;

const TIMEOUT: Duration = Duration::from_secs(120);
const OUTPUT: &str = "/run/bpftrace.out";

/// The guard's first two tests, on the function that calls the hook's programs: is the node a link, and is it named "driver".
const LOOK: &str = "\
fentry:vmlinux:security_kernfs_init_security /(args.kn->flags & 15) == 4 && str(args.kn->name) == \"driver\"/ {
    printf(\"a bind\\n\");
}";

/// So many consecutive reads give the same: two seconds.
const STEADY: u32 = 100;

#[derive(Clone, Copy, Debug)]
pub enum Script {
    Look,
    Judgement {
        /// Bytes of a struct page by which the ideal is computed.
        reference_struct_page: u64,
    },
}

impl Script {
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Look => vec![LOOK.to_owned()],
            Self::Judgement { reference_struct_page } => vec![JUDGEMENT.to_owned(), reference_struct_page.to_string()],
        }
    }
}

/// bpftrace with a script and the script's arguments; it writes line by line.
pub fn bpftrace(script: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let folder = Path::new(TRACER);
    let mut command = Command::new(folder.join(TRACER_LOADER));
    command.arg("--library-path").arg(folder).arg(folder.join("bpftrace")).args(["-B", "line", "-e"]).args(script);
    command
}

/// bpftrace with its program attached. Ended when dropped.
pub struct Tracer {
    child: Child,
    pub program: u32,
}

impl Tracer {
    /// Starts it, and returns once its program is in the kernel and attached.
    pub fn attach(script: Script) -> Result<Self> {
        let before = bpf::ids(ObjectKind::Programs)?;
        let links = bpf::ids(ObjectKind::Links)?.len();
        let output = File::create(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
        let child = bpftrace(script.arguments()).stdin(Stdio::null()).stdout(output).spawn();
        let child = child.context("cannot start bpftrace")?;
        let mut tracer = Self { child, program: 0 };
        // Before its own it loads and attaches others, to find out what the kernel can do: none of them for long.
        let (mut last, mut times) = (Vec::new(), 0);
        tracer.program = wait::until("bpftrace's program, alone and attached", TIMEOUT, || {
            let attached = bpf::ids(ObjectKind::Links).ok()?.len() > links;
            let new: Vec<u32> =
                bpf::ids(ObjectKind::Programs).ok()?.into_iter().filter(|id| !before.contains(id)).collect();
            times = if attached && new == last { times + 1 } else { 0 };
            last = new;
            last.first().copied().filter(|_| last.len() == 1 && times >= STEADY)
        })?;
        Ok(tracer)
    }

    pub fn oversize(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(OUTPUT).with_context(|| format!("cannot read {OUTPUT}"))?;
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(whole.filter(|line| line.starts_with("oversize ")).map(str::to_owned).collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
