//! The script and the pasted blocks, run by a shell over made-up hosts with an ndctl that only writes down its calls.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::*;
use crate::cli::command::plan::commands::CHECKS;

const ALIGN: &str = "bus/nd/devices/region0/align";

/// A host below a folder, and what is done to it.
struct Host(TempDir);

impl Host {
    /// A regressed namespace on each of two NVDIMMs: fsdax and 1 GiB and 2 MiB large, and devdax.
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let tree = Tree::new(host.0.path()).unwrap();
        tree.region(0, 4 * GIB, 64 * GIB).unwrap();
        tree.region(1, 260 * GIB, 64 * GIB).unwrap();
        tree.namespace(&regressed(0, 8 * GIB + (2 << 20))).unwrap();
        let dax = Pmem { region: 1, dax: true, start: 260 * GIB, ..regressed(0, 4 * GIB) };
        tree.namespace(&dax).unwrap();
        tree.dax_driver(&dax, "device_dax").unwrap();
        host.put("block/pmem0/dev", "259:0");
        // The number of /dev/null, which any test may open.
        host.put("bus/dax/devices/dax1.0/dev", "1:3");
        for (program, text) in [
            ("ndctl", "echo \"$*\" \"$(cat \"$ROOT/region0\")\" >>\"$ROOT/calls\""),
            ("id", "echo 0"),
            ("pfnwatch", ""),
        ] {
            host.put(&format!("bin/{program}"), &format!("#!/bin/sh\n{text}"));
            fs::set_permissions(host.0.path().join("bin").join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(host.0.path().join(ALIGN), host.0.path().join("region0")).unwrap();
        host
    }

    fn put(&self, path: &str, text: &str) {
        let file = self.0.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("{text}\n")).unwrap();
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.0.path().join(path)).unwrap();
    }

    /// Text for this host's kernel is for the made-up one.
    fn here(&self, text: &str) -> String {
        let root = self.0.path().display();
        text.replace("/sys/", &format!("{root}/")).replace("/proc/", &format!("{root}/proc/"))
    }

    /// Writes the script, as it is and for this host.
    fn script(&self) -> String {
        let file = self.0.path().join("plan.sh");
        script::write(&plan_below(self.0.path(), Some(64)), &file, "6.1.0").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, self.here(&text)).unwrap();
        text
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = format!("{}/bin:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(arguments).current_dir(self.0.path()).env("PATH", path).env("ROOT", self.0.path());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// ndctl's calls, each with the region's align at that time.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_script_checks_and_rebuilds_once() {
    let host = Host::new();
    host.script();
    let checked = host.run(&["plan.sh"]);
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(host.calls(), [""; 0]);
    let run = host.run(&["plan.sh", "data-is-backed-up"]);
    assert!(run.status.success(), "{run:?}");
    // The size suits no align of 16 MiB: it is set for as long as it is needed.
    let rebuild = "--map=dev --align=2097152";
    let expected = [
        "disable-namespace namespace0.0 2097152".to_owned(),
        "read-infoblock namespace0.0 --output=namespace0.0.infoblock 2097152".to_owned(),
        format!("create-namespace --reconfig=namespace0.0 --mode=fsdax {rebuild} 2097152"),
        "disable-namespace namespace1.0 0x1000000".to_owned(),
        "read-infoblock namespace1.0 --output=namespace1.0.infoblock 0x1000000".to_owned(),
        format!("create-namespace --reconfig=namespace1.0 --mode=devdax {rebuild} 0x1000000"),
    ];
    assert_eq!(host.calls(), expected);
    assert_eq!(fs::read_to_string(host.0.path().join(ALIGN)).unwrap(), "0x1000000\n");
    let again = host.run(&["plan.sh", "data-is-backed-up"]);
    assert!(!again.status.success() && error(&again).contains("this has run"), "{again:?}");
    assert_eq!(host.calls().len(), 6);
    let wrong = host.run(&["plan.sh", "yes"]);
    assert!(!wrong.status.success() && error(&wrong).contains("data-is-backed-up"), "{wrong:?}");
}

/// Something is different when the plan is carried out: nothing is called, and the reason is named.
#[test]
fn any_difference_stops() {
    type Change = fn(&Host);
    let attribute = |host: &Host, name: &str, text| host.put(&format!("bus/nd/devices/{name}"), text);
    let first: [(&str, Change); 14] = [
        ("namespace0.0 is not the planned", |host| {
            // Two NVDIMMs exchanged: the names are the others'.
            let device = |name: &str| host.0.path().join("bus/nd/devices").join(name);
            for (from, to) in [("namespace0.0", "aside"), ("namespace1.0", "namespace0.0"), ("aside", "namespace1.0")] {
                fs::rename(device(from), device(to)).unwrap();
            }
        }),
        ("uuid is 1", |host| host.put("bus/nd/devices/namespace0.0/uuid", "1")),
        ("size is 4096", |host| host.put("bus/nd/devices/namespace0.0/size", "4096")),
        ("block is 1", |host| host.put("bus/nd/devices/pfn0.1/uuid", "1")),
        ("block is unknown", |host| host.put("bus/nd/devices/namespace0.0/holder", "")),
        ("pmem0p1", |host| host.folder("block/pmem0/pmem0p1/holders/dm-0")),
        ("holders/dm-0", |host| host.folder("block/pmem0/holders/dm-0")),
        ("is swap", |host| host.put("proc/swaps", "Filename Type Size\n/dev/pmem0\tpartition\t8")),
        ("loop7", |host| host.put("block/loop7/loop/backing_file", "/dev/pmem0")),
        ("is mounted", |host| host.put("proc/31/mountinfo", "9 1 259:0 / /private rw - xfs /dev/x rw")),
        ("is mounted", |host| host.put("proc/31/mountinfo", "9 1 0:50 / /b rw - btrfs /dev/pmem0 rw")),
        ("the log", |host| host.put("proc/31/mountinfo", "9 1 8:1 / /b rw - xfs /dev/a rw,logdev=/dev/pmem0,noquota")),
        ("no align of 2097152 bytes in region0, only [4096]", |host| {
            host.put("bus/nd/devices/pfn0.0/supported_alignments", "[4096]");
        }),
        ("no device number", |host| fs::remove_file(host.0.path().join("block/pmem0/dev")).unwrap()),
    ];
    for (reason, change) in first {
        let host = Host::new();
        host.script();
        change(&host);
        for arguments in [&["plan.sh"][..], &["plan.sh", "data-is-backed-up"]] {
            let stopped = host.run(arguments);
            assert!(!stopped.status.success() && error(&stopped).contains(reason), "{reason}: {stopped:?}");
        }
        assert_eq!(host.calls(), [""; 0], "{reason}");
        assert!(!host.0.path().join("plan.sh.has-run").exists(), "{reason}: it can be run later");
    }
    let second: [(&str, Change); 3] = [
        ("is in use", |host| {
            host.folder("bus/dax/drivers/kmem/dax1.0");
        }),
        ("is open", |host| {
            host.folder("proc/77/fd");
            host.folder("proc/78/fd");
            symlink("/dev/null", host.0.path().join("proc/78/fd/3")).unwrap();
        }),
        ("is mapped", |host| host.put("proc/77/maps", "7f00-7f01 rw-s 00000000 00:06 99   /dev/dax1.0")),
    ];
    for (reason, change) in second {
        let host = Host::new();
        host.script();
        change(&host);
        let stopped = host.run(&["plan.sh", "data-is-backed-up"]);
        assert!(!stopped.status.success() && error(&stopped).contains(reason), "{reason}: {stopped:?}");
        assert!(host.calls().iter().all(|call| call.contains("namespace0.0")), "{reason}: {:?}", host.calls());
    }
    let host = Host::new();
    host.script();
    attribute(&host, "namespace0.0/uuid", "1");
    let one_of_two = host.run(&["plan.sh"]);
    assert!(String::from_utf8_lossy(&one_of_two.stdout).contains("namespace1.0 is as planned"), "{one_of_two:?}");
}

#[test]
fn pasted_blocks_stop_too() {
    let host = Host::new();
    let plan = plan_below(host.0.path(), Some(128));
    for way in &plan.steps[0].ways {
        let commands = host.here(&way.commands[..way.commands.len() - 2].join("\n"));
        let before = host.calls().len();
        let without_checks = host.run(&["-c", &commands]);
        assert!(!without_checks.status.success(), "{without_checks:?}");
        // A paste that is cut off runs nothing.
        let cut = commands.trim_end_matches(')');
        assert!(!host.run(&["-c", &format!("{}{cut}", host.here(CHECKS))]).status.success());
        assert_eq!(host.calls().len(), before, "{way:?}");
        let with_checks = host.run(&["-c", &format!("{}{commands}", host.here(CHECKS))]);
        assert!(with_checks.status.success(), "{with_checks:?}");
        assert!(host.calls().len() > before, "{way:?}");
    }
    assert_eq!(host.calls().len(), 3 + 3 + 6, "{:?}", host.calls());
}

#[test]
fn a_regressed_kernel_is_not_rebuilt_under() {
    let host = Host::new();
    host.script();
    host.put("bin/pfnwatch", "#!/bin/sh\nexit 3");
    let stopped = host.run(&["plan.sh", "data-is-backed-up"]);
    assert!(!stopped.status.success() && error(&stopped).contains("this kernel is not known"), "{stopped:?}");
    assert_eq!(host.calls(), [""; 0]);
}

/// Debian's package shellcheck: set-up installs it.
#[test]
fn shellcheck_finds_nothing() {
    let host = Host::new();
    host.put("proc/self/mountinfo", "1 1 259:0 / /mnt/it's\\040a\\012dir rw - xfs /dev/pmem0 rw");
    let script = host.script();
    host.put("script.sh", &script);
    let plan = plan_below(host.0.path(), Some(128));
    let blocks: String =
        plan.steps.iter().flat_map(|step| &step.ways).map(|way| way.commands.join("\n") + "\n").collect();
    host.put("blocks.sh", &format!("{CHECKS}\n{blocks}"));
    for file in ["script.sh", "blocks.sh"] {
        let found = Command::new("shellcheck").args(["--shell=sh", file]).current_dir(host.0.path()).output();
        let found = found.expect("shellcheck: `cargo xtask setup` installs it");
        assert!(found.status.success(), "{file}: {}", String::from_utf8_lossy(&found.stdout));
    }
}

/// A script is never written over another file.
#[test]
fn a_file_that_is_there_stays() {
    let host = Host::new();
    host.put("plan.sh", "mine");
    let written = script::write(&plan_below(host.0.path(), Some(64)), &host.0.path().join("plan.sh"), "6.1.0");
    assert!(written.is_err_and(|error| error.to_string().contains("not overwritten")));
}
