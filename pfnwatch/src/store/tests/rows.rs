//! Boots and alerts are remembered.

use crate::model::store::{BootRow, StoreHealth};
use std::collections::BTreeMap;

use super::*;
use crate::model::capacity::Acceptance;

fn boot(id: &str, build: Option<&str>, max: u64) -> BootRow {
    BootRow {
        boot_id: id.to_owned(),
        module_build_id: build.map(str::to_owned),
        release: "6.1.9".to_owned(),
        struct_page_size: Some(64),
        max_struct_page_size: Some(max),
        memmap_returned: None,
        evidence: vec!["code".to_owned(), "release".to_owned()],
        first_seen: at(10),
        last_seen: at(20),
        superseded: false,
        accepted: None,
    }
}

#[test]
fn boots_are_known_by_boot_and_module() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings.clone(), render);
    let first = boot("a", Some("f00d"), 64);
    let other_module = BootRow { first_seen: at(11), ..boot("a", None, 128) };
    for boot in [&first, &other_module] {
        store.save_boot(boot).unwrap();
    }
    let later = BootRow { first_seen: at(30), last_seen: at(30), max_struct_page_size: None, ..first.clone() };
    store.save_boot(&later).unwrap();
    drop(store);
    let known = BootRow { first_seen: at(10), ..later };
    assert_eq!(EventStore::open(settings, render).boots().unwrap(), [known, other_module]);
}

/// As it was before anything could be accepted.
#[test]
fn a_file_of_the_first_schema_is_read_as_it_is_and_brought_up_to_date_by_an_agent() {
    let (_folder, settings) = place();
    drop(EventStore::open(settings.clone(), render));
    let undo = "ALTER TABLE boots DROP COLUMN superseded; ALTER TABLE boots DROP COLUMN accepted;
                ALTER TABLE boots DROP COLUMN memmap_returned; DROP TABLE devices; PRAGMA user_version = 1;
                INSERT INTO boots VALUES ('a', 'f00d', '6.1.9', 64, 128, '[\"code\",\"release\"]', 10000000, 20000000)";
    raw(&settings).execute_batch(undo).unwrap();
    let known = [boot("a", Some("f00d"), 128)];
    let file = settings.file.clone().unwrap();
    assert_eq!(Reader::open(&file).unwrap().boots().unwrap(), known);
    let mut store = EventStore::open(settings.clone(), render);
    assert_eq!(store.boots().unwrap(), known);
    let accepted = Acceptance { by: "root".to_owned(), reason: "ticket".to_owned(), time: "T".to_owned() };
    let boots = [
        BootRow { superseded: true, ..known[0].clone() },
        BootRow { first_seen: at(15), accepted: Some(accepted), memmap_returned: Some(false), ..boot("b", None, 64) },
    ];
    store.save_boots(&boots).unwrap();
    assert_eq!(Reader::open(&file).unwrap().boots().unwrap(), boots);
}

#[test]
fn alerts_stand_until_they_are_forgotten() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings, render);
    let alert = AlertRow { fingerprint: "a".to_owned(), json: "{}".to_owned(), since: at(5) };
    store.save_alert(&alert).unwrap();
    let later = AlertRow { json: "{\"more\":1}".to_owned(), ..alert };
    store.save_alert(&later).unwrap();
    assert_eq!(store.firing_alerts().unwrap(), [later]);
    store.delete_alert("a").unwrap();
    assert_eq!(store.firing_alerts().unwrap(), []);
}

#[test]
fn a_message_waits_until_it_is_delivered() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings.clone(), render);
    let first = store.put("alertmanager", "a", "firing", "{}").unwrap();
    let second = store.put("hook", "a", "firing", "{}").unwrap();
    let now = SystemTime::now();
    assert_eq!(store.due(now, 10).unwrap().iter().map(|it| it.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(store.due(now, 1).unwrap().len(), 1);
    let later = now + Duration::from_secs(60);
    store.failed(first, later, "connection refused").unwrap();
    store.delivered(second).unwrap();
    drop(store);
    let mut store = EventStore::open(settings, render);
    assert_eq!(store.due(now, 10).unwrap(), []);
    let due = store.due(later, 10).unwrap();
    let [waiting] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((waiting.attempts, waiting.last_error.as_deref()), (1, Some("connection refused")));
    assert_eq!((waiting.receiver.as_str(), waiting.state.as_str()), ("alertmanager", "firing"));
    assert_eq!(store.pending().unwrap(), BTreeMap::from([("alertmanager".to_owned(), 1)]));
    store.delivered(first).unwrap();
    assert_eq!(store.pending().unwrap(), BTreeMap::new());
    // A number is not given out again: what is on its way must not be taken for another message.
    assert!(store.put("hook", "b", "resolved", "{}").unwrap() > second);
}

#[test]
fn messages_that_are_given_up_are_bounded() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings.clone(), render);
    let waiting = store.put("hook", "a", "firing", "{}").unwrap();
    let given_up: Vec<_> = (0..260).map(|_| store.put("hook", "a", "firing", "{}").unwrap()).collect();
    for id in &given_up {
        store.give_up(*id, "it answered 400").unwrap();
    }
    let rows: i64 = raw(&settings).query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0)).unwrap();
    let oldest: i64 =
        raw(&settings).query_row("SELECT min(id) FROM deliveries WHERE attempts > 0", [], |row| row.get(0)).unwrap();
    assert_eq!((rows, oldest), (257, given_up[4]));
    assert_eq!(store.undelivered().unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [waiting]);
}

#[test]
fn without_a_store_nothing_is_known_and_nothing_fails() {
    let mut store = EventStore::disabled();
    assert_eq!(store.health(), StoreHealth::default());
    assert_eq!(store.save_boot(&boot("a", None, 64)), None);
    assert_eq!((store.boots(), store.put("hook", "a", "firing", "{}")), (None, None));
}
