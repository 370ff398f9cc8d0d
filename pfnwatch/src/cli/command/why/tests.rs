use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use pfnwatch_common::InfoBlock;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::cli::output::json::document;
use crate::cli::{Cli, Command};
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::event::{BlockOrigin, Event, NamespaceId, Time};
use crate::model::store::{Settings, UnsavedBlocks as _};
use crate::model::why::FailureCause as Cause;
use crate::store::EventStore;
use crate::testing::events::{context, creation, decode, denial, name};
use crate::testing::schema::check;
use crate::testing::tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;
const UUID: &str = "6ee5c199-bbe8-42f6-9ea1-20b61fde34a7";

/// A made-up host with an event store and a saved log.
struct Host {
    folder: TempDir,
    tree: Tree,
    log: String,
}

impl Host {
    /// With a region, an enabled namespace0.0, and namespace0.1 disabled.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(&folder.path().join("sys")).unwrap();
        tree.region(0, 4 * GIB, 64 * GIB).unwrap();
        tree.namespace(&Pmem::default()).unwrap();
        let host = Self { folder, tree, log: String::new() };
        host.disabled(&[]);
        host
    }

    fn disabled(&self, other: &[(&str, &str)]) {
        let usual =
            [("mode", "raw"), ("size", "1073741824"), ("resource", "0x600000000"), ("holder", ""), ("uuid", UUID)];
        self.tree.write("namespace0.1", &usual).unwrap();
        self.tree.write("namespace0.1", other).unwrap();
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("pfnwatch.db")
    }

    /// Saves the block of namespace0.1 as an agent does.
    fn save(&self, block: InfoBlock, change: impl Fn(&mut SavedInfoBlock)) {
        let namespace = NamespaceId {
            namespace: "namespace7.7".to_owned(),
            namespace_uuid: Some(Uuid::try_parse(UUID).unwrap()),
            start_address: 24 * GIB,
            size_bytes: GIB,
        };
        let block = InfoBlock { parent_uuid: *Uuid::try_parse(UUID).unwrap().as_bytes(), ..block };
        let seen = Time(UNIX_EPOCH);
        let mut saved = SavedInfoBlock::new(namespace, Box::new(block.encode()), BlockOrigin::Read, seen).unwrap();
        change(&mut saved);
        let mut cache = InfoBlockCache::default();
        cache.restore(vec![saved]);
        cache.mark_all_dirty();
        let settings = Settings { file: Some(self.store()), ..Settings::default() };
        EventStore::open(settings, crate::export::line::of).commit(&mut [], &mut cache);
    }

    fn why(&self, arguments: &[&str]) -> anyhow::Result<WhyReport> {
        let (log, store) = (self.folder.path().join("log"), self.store());
        fs::write(&log, &self.log).unwrap();
        let (log, store) = (log.to_str().unwrap(), store.to_str().unwrap());
        let (report, _) = why(self.folder.path(), &[&["--kernel-log", log, "--store", store], arguments].concat())?;
        Ok(report)
    }

    fn causes(&self, arguments: &[&str]) -> Vec<(String, Cause)> {
        let findings = self.why(arguments).unwrap().findings;
        findings.into_iter().map(|it| (it.subject().unwrap_or_default().to_owned(), it.answer.cause)).collect()
    }
}

fn why(root: &Path, arguments: &[&str]) -> anyhow::Result<(WhyReport, bool)> {
    let Cli { command: Command::Why(args), .. } = Cli::parse_from([&["pfnwatch", "why"], arguments].concat()) else {
        panic!("another command")
    };
    let paths = Paths { sysfs: root.join("sys"), procfs: "/proc".into() };
    let mut report = WhyReport::default();
    let is_answered = match &args.message {
        Some(text) => add_message(&mut report, text)?,
        None => false,
    };
    if !is_answered {
        add_host(&mut report, &args, &paths)?;
    }
    check("why", &serde_json::from_str::<Value>(&document(&report)?)?).unwrap();
    Ok((report, is_answered))
}

fn named(name: &str, cause: Cause) -> (String, Cause) {
    (name.to_owned(), cause)
}

/// What a kernel of today with struct pages of 64 bytes writes into 1 GiB.
fn good() -> InfoBlock {
    InfoBlock { npfns: (GIB - 18_874_368) / 4096, ..InfoBlock::sample(18_874_368, 64) }
}

#[test]
fn the_kernels_log_comes_before_the_saved_block_and_that_before_the_label() {
    let mut host = Host::new();
    host.disabled(&[("holder_class", "dax")]);
    let unknown = host.why(&["namespace0.1"]).unwrap();
    let answer = &unknown.findings[0].answer;
    assert_eq!((unknown.findings.len(), answer.cause, unknown.exit()), (1, Cause::Unknown, Exit::Success));
    assert!(answer.explanation.contains("marks it as devdax"), "{}", answer.explanation);
    assert_eq!(answer.next, "sudo ndctl read-infoblock namespace0.1 --json");

    host.save(good(), |_| ());
    let fits = &host.why(&["namespace0.1"]).unwrap().findings[0];
    assert_eq!((fits.answer.cause, fits.evidence), (Cause::Disabled, FailureEvidence::InfoBlock));
    assert_eq!(fits.answer.next, "ndctl enable-namespace namespace0.1");

    host.save(InfoBlock { page_size: Some(1 << 30), ..good() }, |_| ());
    let refused = host.why(&["namespace0.1"]).unwrap();
    assert_eq!((refused.findings[0].answer.cause, refused.exit()), (Cause::NotSupported, Exit::Findings));
    assert!(refused.findings[0].answer.explanation.contains("pages of 1 GiB"));

    host.log = "[ 5.0]  pfn0.1: init failed, page size mismatch 65536\n\
                [ 5.1] nd_pmem namespace0.1: probe with driver nd_pmem failed with error -95\n"
        .to_owned();
    let logged = host.why(&["namespace0.1"]).unwrap().findings;
    assert_eq!((logged.len(), logged[0].answer.cause), (1, Cause::PageSizeMismatch));
    assert_eq!(logged[0].evidence, FailureEvidence::KernelLog);
}

/// A block that was destroyed, or that may be overwritten, is none.
#[test]
fn a_saved_block_counts_while_it_is_on_the_media() {
    let changes: [fn(&mut SavedInfoBlock); 2] = [|saved| saved.destroyed = true, |saved| saved.raw_since = true];
    for change in changes {
        let host = Host::new();
        host.save(good(), change);
        assert_eq!(host.causes(&["namespace0.1"]), [named("namespace0.1", Cause::Unknown)]);
    }
}

#[test]
fn what_the_kernel_refuses_in_silence() {
    let host = Host::new();
    host.disabled(&[("size", "8388608")]);
    assert_eq!(host.causes(&["namespace0.1"]), [named("namespace0.1", Cause::NamespaceTooSmall)]);
    host.disabled(&[("uuid", "")]);
    assert_eq!(host.causes(&["namespace0.1"]), [named("namespace0.1", Cause::NoUuid)]);
    fs::remove_file(host.tree.device("region0").join("driver")).unwrap();
    assert_eq!(host.causes(&["region0"]), [named("region0", Cause::RegionDisabled)]);
}

#[test]
fn the_whole_host_shows_what_is_wrong_now() {
    let mut host = Host::new();
    host.log = "nd_pmem pfn0.1: init failed, settings mismatch\n\
                dax_pmem dax0.0: namespace0.7 unable to satisfy requested alignment\n\
                dax_pmem dax0.0: namespace0.7 unable to satisfy requested alignment\n\
                nd_pmem namespace0.0: unable to guarantee persistence of writes\n"
        .to_owned();
    // pfn0.1 has namespace0.0, which is enabled: its failure is over. Twice the same is one.
    let expected = [named("namespace0.7", Cause::AlignTooLarge), named("namespace0.1", Cause::Unknown)];
    assert_eq!(host.causes(&[]), expected);
    for name in ["pfn0.1", "namespace0.0", "/dev/pmem0", "00000001-0000-4000-8000-000000000000"] {
        assert_eq!(host.causes(&[name]), [named("namespace0.0", Cause::SizeExplained)], "{name}");
    }
    assert_eq!(host.causes(&["namespace0.7"]), [named("namespace0.7", Cause::AlignTooLarge)]);
    let error = host.why(&["namespace9.9"]).unwrap_err().to_string();
    assert!(error.starts_with("namespace9.9 is not a namespace, device or region of this host"), "{error}");
}

#[test]
fn oversize_is_found_with_its_numbers() {
    let host = Host::new();
    let large = Pmem { id: 2, start: 32 * GIB, struct_page: 128, ..Pmem::default() };
    host.tree.namespace(&large).unwrap();
    let report = host.why(&["namespace0.2"]).unwrap();
    let answer = &report.findings[0].answer;
    assert_eq!((answer.cause, &*answer.next, report.exit()), (Cause::Oversize, "sudo pfnwatch plan", Exit::Findings));
    assert!(answer.explanation.starts_with("16 GiB: 514 MiB reserved, 15.4 GiB usable"), "{}", answer.explanation);
    assert!(host.causes(&[]).contains(&named("namespace0.2", Cause::Oversize)));
}

#[test]
fn without_a_log_the_host_cannot_be_cleared() {
    let host = Host::new();
    fs::remove_dir_all(host.tree.device("namespace0.1")).unwrap();
    let healthy = host.why(&[]).unwrap();
    assert_eq!((healthy.findings.len(), healthy.exit()), (0, Exit::Success));
    assert!(healthy.text().starts_with("Nothing failed"), "{}", healthy.text());
    let (blind, _) = why(host.folder.path(), &["--kernel-log", "/none"]).unwrap();
    assert_eq!((blind.kernel_log_problem.is_some(), blind.exit()), (true, Exit::Unsupported));
    // A copy of sysfs is another host's: this kernel's log is not its log.
    let (copy, _) = why(host.folder.path(), &[]).unwrap();
    assert!(copy.kernel_log_problem.is_some_and(|problem| problem.contains("is not this host's")));
}

#[test]
fn a_message_is_answered_alone_or_by_the_host() {
    let host = Host::new();
    for (text, cause, is_alone) in [
        ("failed to create namespace: No space left on device", Cause::NoSpace, true),
        ("init failed, settings mismatch", Cause::SettingsMismatch, true),
        ("[  1.5] dax_pmem dax0.0: namespace0.1 unable to satisfy requested alignment", Cause::AlignTooLarge, true),
        ("failed to create namespace: No such device or address", Cause::NoDeviceOrAddress, false),
    ] {
        let (report, is_answered) = why(host.folder.path(), &["--message", text]).unwrap();
        let first = &report.findings[0];
        assert_eq!(
            (first.answer.cause, first.evidence, is_answered),
            (cause, FailureEvidence::Message, is_alone),
            "{text}"
        );
        assert_eq!(report.findings.len() > 1, !is_alone, "{text}");
    }
    assert!(why(host.folder.path(), &["--message", "hello"]).is_err());
}

#[test]
fn the_screen() {
    let mut host = Host::new();
    host.log = "[ 5.0] nd_pmem pfn0.5: really_probe: driver_sysfs_add failed\n\
        [ 6.0] dax_pmem dax0.0: namespace0.1 unable to satisfy requested alignment\n"
        .to_owned();
    let report = host.why(&["--control-socket", "/none"]).unwrap();
    let text = report.text().replace(&host.folder.path().display().to_string(), "FOLDER");
    crate::cli::output::screens::compare("why", &text);
}

/// What an agent recorded names the namespace of a device that the kernel's log names alone.
#[test]
fn a_denial_is_explained_by_log_and_event() {
    let mut host = Host::new();
    let mut event = decode(zerocopy::IntoBytes::as_bytes(&denial()), &context()).unwrap();
    event.time = Time(SystemTime::now());
    let decision = event.guard_decision_mut().unwrap();
    decision.device = "pfn0.5".to_owned();
    decision.namespace.as_mut().unwrap().namespace = "namespace0.7".to_owned();
    decision.remedies = vec!["an exemption: `pfnwatch allow --region region0 --once`".to_owned()];
    let settings = Settings { file: Some(host.store()), ..Settings::default() };
    EventStore::open(settings, crate::export::line::of).commit(&mut [event], &mut InfoBlockCache::default());
    host.log = "[ 5.0] nd_pmem pfn0.5: really_probe: driver_sysfs_add failed\n".to_owned();
    let expected = [named("namespace0.7", Cause::BindRefused), named("namespace0.7", Cause::DeniedByGuard)];
    assert_eq!(host.causes(&["pfn0.5"]), expected);
    assert_eq!(host.causes(&["namespace0.7"]), expected);
    assert_eq!(host.causes(&[])[..2], expected);
    let findings = host.why(&["pfn0.5", "--control-socket", "/none"]).unwrap().findings;
    let refused = &findings[0].answer.explanation;
    assert!(refused.ends_with("; the agent's mode is unknown, since no agent answers"), "{refused}");
    assert_eq!(findings[1].answer.next, "sudo pfnwatch allow --region region0 --once");
}

/// Names are used again: what was enabled since has another reason to be disabled.
#[test]
fn a_failure_is_over_once_the_namespace_was_enabled() {
    let host = Host::new();
    let set_up = |code: i32, second: u64| {
        let mut record = creation();
        record.namespace = name("namespace0.1");
        (record.setup_result, record.bind_result) = (code, code);
        let mut event = decode(zerocopy::IntoBytes::as_bytes(&record), &context()).unwrap();
        event.time = Time(UNIX_EPOCH + Duration::from_secs(second));
        event
    };
    let commit = |events: &mut [Event]| {
        let settings = Settings { file: Some(host.store()), ..Settings::default() };
        EventStore::open(settings, crate::export::line::of).commit(events, &mut InfoBlockCache::default());
    };
    commit(&mut [set_up(-16, 1)]);
    assert_eq!(host.causes(&["namespace0.1"]), [named("namespace0.1", Cause::AddressRangeBusy)]);
    commit(&mut [set_up(0, 2)]);
    assert_eq!(host.causes(&["namespace0.1"]), [named("namespace0.1", Cause::Unknown)]);
}

/// A device's name is used again: the failure was another namespace's.
#[test]
fn a_failure_of_another_namespace_on_a_device_of_this_name_is_left_out() {
    let mut host = Host::new();
    host.log = "[    1.0] nd_pmem pfn0.0: namespace0.7 unable to satisfy requested alignment\n".to_owned();
    assert_eq!(host.causes(&["namespace0.0"]), [named("namespace0.0", Cause::SizeExplained)]);
    assert_eq!(host.causes(&["namespace0.7"]), [named("namespace0.7", Cause::AlignTooLarge)]);
    assert!(host.causes(&["pfn0.0"]).contains(&named("namespace0.7", Cause::AlignTooLarge)));
}
