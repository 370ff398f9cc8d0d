//! If something is wrong with the file, events go on, and are marked.

use crate::model::store::Settings;
use proptest::prelude::*;

use super::*;

/// The names of the damaged files beside the store.
fn beside(settings: &Settings) -> Vec<String> {
    let folder = settings.file.as_ref().unwrap().parent().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains("damaged"));
    names.sort_unstable();
    names
}

/// A store that was closed, so that all of it is in the one file.
fn written(settings: &Settings, count: usize) -> Vec<u8> {
    let mut store = EventStore::open(settings.clone(), render);
    let events = (0..count).map(|number| blind(&format!("{number} {}", "x".repeat(500)))).collect();
    commit(&mut store, events);
    store.commit(&mut [], &mut saved_blocks());
    drop(store);
    fs::read(settings.file.as_ref().unwrap()).unwrap()
}

#[test]
fn a_full_disk_is_survived_and_what_was_told_meanwhile_is_written_later() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings.clone(), render);
    commit(&mut store, vec![blind("before")]);
    let pages: i64 = store.read(|it| it.pragma_query_value(None, "page_count", |row| row.get(0))).unwrap();
    let limit = |store: &mut EventStore, pages: i64| {
        store.read(|it| it.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))).unwrap();
    };
    limit(&mut store, pages + 2);
    let long = "x".repeat(20_000);
    let mut blocks = saved_blocks();
    let mut events = [blind(&long)];
    store.commit(&mut events, &mut blocks);
    assert_eq!((events[0].id, events[0].uncommitted), (None, true));
    assert_eq!(blocks.dirty().count(), 1, "the blocks of the same transaction are still to be written");
    let json = serde_json::to_value(&events[0]).unwrap();
    assert_eq!((json.get("id"), &json["uncommitted"]), (None, &true.into()));
    let health = store.health();
    assert!(health.error.as_deref().unwrap().contains("full"), "{health:?}");
    assert_eq!((health.events, health.uncommitted), (1, 1));
    assert!(commit(&mut store, vec![blind("meanwhile")])[0].uncommitted, "it is not tried with each event");
    assert_eq!(ids(&settings), [1], "what was committed is there");
    assert_eq!(store.boots().unwrap(), [], "what is there can be read");
    // The connection is another one after this, without the limit.
    store.enforce_retention(&mut blocks, SystemTime::now());
    let health = store.health();
    assert_eq!((health.error, health.events, health.uncommitted), (None, 3, 2));
    assert_eq!(numbers(&commit(&mut store, vec![blind("after")])), [Some(4)]);
    let lines: Vec<_> = entries(&settings).into_iter().map(|entry| entry.line).collect();
    for (line, end) in lines.iter().zip(["before", long.as_str(), "meanwhile", "after"]) {
        assert!(line.ends_with(end), "{line}");
    }
    assert_eq!(store.blocks().unwrap().len(), 1);
}

#[test]
fn only_so_many_events_are_held() {
    let (folder, settings) = place();
    fs::write(folder.path().join("deep"), "a file where the folder should be").unwrap();
    let mut store = EventStore::open(settings.clone(), render);
    assert!(store.health().error.unwrap().contains("deep"));
    for number in 0..1010 {
        assert!(commit(&mut store, vec![blind(&number.to_string())])[0].uncommitted);
    }
    assert_eq!((store.pending.events.len(), store.pending.dropped), (1000, 10));
    fs::remove_file(folder.path().join("deep")).unwrap();
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    assert_eq!((store.health().error, store.pending.events.len(), store.pending.dropped), (None, 0, 0));
    assert!(entries(&settings)[0].line.ends_with(" 10"));
}

#[test]
fn a_newer_or_foreign_file_is_left_alone() {
    let (_folder, settings) = place();
    let file = settings.file.clone().unwrap();
    drop(EventStore::open(settings.clone(), render));
    for (pragma, value, said) in [("user_version", 6, "schema 6"), ("application_id", 7, "another program's")] {
        raw(&settings).pragma_update(None, pragma, value).unwrap();
        let before = fs::read(&file).unwrap();
        let mut store = EventStore::open(settings.clone(), render);
        assert!(commit(&mut store, vec![blind("one")])[0].uncommitted);
        store.enforce_retention(&mut Blocks::default(), SystemTime::now());
        let error = store.health().error.unwrap();
        assert!(error.contains(said) && error.contains("was not changed"), "{error}");
        assert!(Reader::open(&file).unwrap_err().to_string().contains(said));
        drop(store);
        assert_eq!((fs::read(&file).unwrap(), beside(&settings)), (before, vec![]));
        raw(&settings).pragma_update(None, "user_version", 5).unwrap();
    }
    // Another program's that has no application id.
    fs::remove_file(&file).unwrap();
    raw(&settings).execute_batch("CREATE TABLE a (b)").unwrap();
    assert!(EventStore::open(settings, render).health().error.unwrap().contains("another program's"));
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    for bytes in [b"no database ".repeat(500), vec![0; 8192], written(&place().1, 3)[..5000].to_vec()] {
        let (_folder, settings) = place();
        fs::create_dir(settings.file.as_ref().unwrap().parent().unwrap()).unwrap();
        fs::write(settings.file.as_ref().unwrap(), &bytes).unwrap();
        let mut store = EventStore::open(settings.clone(), render);
        let told = commit(&mut store, vec![blind("one")]);
        let health = store.health();
        let aside = health.set_aside.unwrap();
        assert_eq!((health.error, told[0].uncommitted), (None, false));
        assert_eq!(fs::read(&aside).unwrap(), bytes, "nothing of it is lost");
        assert!(told[0].id.unwrap() > 1_000_000_000_000, "which numbers were given is not known: {told:?}");
        assert_eq!(beside(&settings).len(), 1);
    }
}

#[test]
fn a_file_that_is_damaged_under_the_agent_is_set_aside_and_the_event_is_committed() {
    let (_folder, settings) = place();
    let mut blocks = saved_blocks();
    let bytes = written(&settings, 100);
    let mut store = EventStore::open(settings.clone(), render);
    // All but the first page, which identifies the application.
    let mut damaged = bytes;
    damaged[4096..].fill(0xa5);
    fs::write(settings.file.as_ref().unwrap(), &damaged).unwrap();
    let mut events = [blind("after")];
    store.commit(&mut events, &mut blocks);
    let health = store.health();
    assert!(health.set_aside.is_some() && health.error.is_none(), "{health:?}");
    assert_eq!((events[0].uncommitted, ids(&settings).len(), health.events), (false, 1, 1));
    assert_eq!(store.blocks().unwrap().len(), 1, "what is in memory is written again");
}

#[test]
fn a_disk_that_damages_each_new_file_is_not_filled_with_them() {
    let (_folder, settings) = place();
    let file = settings.file.as_ref().unwrap();
    fs::create_dir(file.parent().unwrap()).unwrap();
    let mut store = EventStore::disabled();
    for _ in 0..12 {
        // Whoever finds the file replaced opens it again.
        // The log goes too: it may hold all of a new file.
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", file.display()));
        }
        fs::write(file, b"no database".repeat(500)).unwrap();
        if store.is_off() {
            store = EventStore::open(settings.clone(), render);
        }
        store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    }
    assert_eq!(beside(&settings).len(), 4);
    let error = store.health().error.unwrap();
    assert!(error.contains("damaged repeatedly"), "{error}");
}

/// Each agent that starts may find a damaged file.
#[test]
fn of_damaged_files_the_oldest_are_deleted() {
    let (_folder, settings) = place();
    let file = settings.file.as_ref().unwrap();
    fs::create_dir(file.parent().unwrap()).unwrap();
    let another = file.with_file_name("pfnwatch.db-damaged-by-somebody");
    fs::write(&another, "").unwrap();
    let mut aside = Vec::new();
    for run in 0..6_u64 {
        fs::write(file, b"no database".repeat(500)).unwrap();
        let health = EventStore::open(settings.clone(), render).health();
        assert_eq!((health.error, health.deleted_damaged), (None, u64::from(run > 3)));
        aside.push(health.set_aside.unwrap());
        // As SQLite leaves it beside a file.
        fs::write(format!("{}-wal", aside.last().unwrap().display()), "").unwrap();
    }
    assert_eq!(aside.iter().map(|file| file.exists()).collect::<Vec<_>>(), [false, false, true, true, true, true]);
    assert_eq!(beside(&settings).len(), 4 * 2 + 1, "each with its log");
    assert!(another.exists());
}

/// A reader of an old state keeps SQLite's log from beginning again at its start.
#[test]
fn a_reader_that_never_ends_does_not_fill_the_disk() {
    let (_folder, settings) = place();
    let settings = Settings { max_size_bytes: 1 << 20, ..settings };
    let log = settings.file.as_ref().unwrap().with_extension("db-wal");
    let mut store = EventStore::open(settings.clone(), render);
    commit(&mut store, vec![blind("before")]);
    let reader = raw(&settings);
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let flood = |store: &mut EventStore| {
        let long = "x".repeat(20_000);
        let events = (0..50).map(|_| blind(&long)).collect();
        commit(store, events)[0].uncommitted
    };
    let commits = (0..20).take_while(|_| !flood(&mut store)).count();
    assert!((2..20).contains(&commits), "{commits}");
    assert!(fs::metadata(&log).unwrap().len() < 24 << 20, "the limit and one commit");
    let error = store.health().error.unwrap();
    assert!(error.contains("16 MiB") && error.contains("keeps reading"), "{error}");
    assert!(error.contains(&format!("pid {} (", std::process::id())), "{error}");
    let size = fs::metadata(&log).unwrap().len();
    for _ in 0..3 {
        store.enforce_retention(&mut Blocks::default(), SystemTime::now());
        assert!(flood(&mut store) && store.health().error.is_some());
    }
    assert_eq!(fs::metadata(&log).unwrap().len(), size);
    assert_eq!(reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0)), Ok(1), "as it was");
    drop(reader);
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    let health = store.health();
    assert_eq!((health.error, health.uncommitted, store.pending.events.len()), (None, 200, 0));
    assert!(fs::metadata(&log).unwrap().len() < size);
}

#[test]
fn a_group_that_cannot_read_it_is_logged_once_for_each_reason() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings, render);
    let reasons = [None, Some("a"), Some("a"), Some("b"), None, Some("b")];
    let logged = reasons.map(|reason| store.unshared_warning(reason.map(str::to_owned)).is_some());
    assert_eq!(logged, [false, true, false, true, false, true]);
}

/// Root may write to everything, and so may whoever owns the folder: then nothing is amiss, and all is committed.
#[test]
fn a_file_that_cannot_be_written_to_is_read_all_the_same() {
    let (_folder, settings) = place();
    written(&settings, 3);
    let file = settings.file.as_ref().unwrap();
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let mut store = EventStore::open(settings.clone(), render);
    let told = commit(&mut store, vec![blind("one")]);
    assert_eq!(told[0].uncommitted, store.health().error.is_some());
    let there = if told[0].uncommitted { 3 } else { 4 };
    assert_eq!(Reader::open(file).unwrap().last(&EventFilter::default(), 9).unwrap().len(), there);
}

/// Not even root writes to a file system that is read-only; sysfs and procfs take no new files either.
#[test]
fn a_place_that_takes_no_files_is_said() {
    let settings = Settings { file: Some("/proc/pfnwatch.db".into()), ..Settings::default() };
    let mut store = EventStore::open(settings, render);
    assert!(commit(&mut store, vec![blind("one")])[0].uncommitted);
    let error = store.health().error.unwrap();
    assert!(error.starts_with("/proc/pfnwatch.db: "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a disk makes of the file: nothing panics, an event is committed or marked, and what cannot be used is not
    /// thrown away.
    #[test]
    fn no_damage_stops_the_events(at in 0..40_000usize, length in 1..6000usize, byte: u8, cut in proptest::option::of(0..40_000usize)) {
        let (_folder, settings) = place();
        let mut bytes = written(&settings, 40);
        let end = (at + length).min(bytes.len());
        if let Some(part) = bytes.get_mut(at.min(end)..end) {
            part.fill(byte);
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let file = settings.file.as_ref().unwrap();
        fs::write(file, &bytes).unwrap();
        let _ = Reader::open(file).and_then(|reader| reader.last(&EventFilter::default(), 1000));
        let mut store = EventStore::open(settings.clone(), render);
        let mut blocks = saved_blocks();
        let mut events = [blind("after")];
        store.commit(&mut events, &mut blocks);
        store.enforce_retention(&mut blocks, at_far());
        let health = store.health();
        prop_assert_eq!(events[0].uncommitted, events[0].id.is_none());
        prop_assert!(health.error.is_none() || events[0].uncommitted || health.set_aside.is_some(), "{:?}", health);
        if let Some(aside) = health.set_aside {
            prop_assert_eq!(fs::metadata(aside).unwrap().len() > 0, !bytes.is_empty());
        }
    }
}

fn at_far() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1 << 20)
}
