//! Events are in the file before they are published, each with a number of its own.

use crate::model::store::StoreHealth;
use proptest::prelude::*;

use super::*;

#[test]
fn an_event_is_in_the_file_as_it_is_told() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings.clone(), render);
    let told = commit(&mut store, vec![blind("one"), denied("namespace0.0"), blind("two")]);
    assert_eq!(numbers(&told), [Some(1), Some(2), Some(3)]);
    // Another connection, while the agent's is open.
    let entries = entries(&settings);
    let json: Vec<_> = told.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    assert_eq!(entries.iter().map(|entry| entry.json.clone()).collect::<Vec<_>>(), json);
    assert!(json[0].starts_with(r#"{"schema":1,"id":1,"time":""#), "{}", json[0]);
    assert!(entries[1].line.contains("namespace0.0") && !entries[1].line.contains("uncommitted"));
    let denied = EventFilter { denied: true, ..EventFilter::default() };
    let reader = Reader::open(settings.file.as_deref().unwrap()).unwrap();
    assert_eq!(reader.last(&denied, 9).unwrap(), entries[1..2]);
    let of_namespace = EventFilter { namespace: Some("namespace0.0".to_owned()), ..EventFilter::default() };
    assert_eq!(reader.count(&of_namespace).unwrap(), 1);
    assert_eq!((store.health().events, store.health().uncommitted), (3, 0));
}

#[test]
fn numbers_go_on_over_restarts_and_deletions() {
    let (_folder, settings) = place();
    commit(&mut EventStore::open(settings.clone(), render), vec![blind("one"), blind("two")]);
    raw(&settings).execute("DELETE FROM events", []).unwrap();
    let told = commit(&mut EventStore::open(settings.clone(), render), vec![blind("three")]);
    assert_eq!(numbers(&told), [Some(3)]);
    assert_eq!(ids(&settings), [3]);
}

#[test]
fn a_file_that_is_put_in_the_place_of_ours_gives_no_number_again() {
    let (folder, settings) = place();
    let file = settings.file.clone().unwrap();
    let mut store = EventStore::open(settings.clone(), render);
    commit(&mut store, vec![blind("one")]);
    let older = folder.path().join("older.db");
    raw(&settings).execute("VACUUM INTO ?1", [older.to_str().unwrap()]).unwrap();
    let mut blocks = saved_blocks();
    store.commit(&mut [blind("two"), blind("three")], &mut blocks);
    fs::rename(&older, &file).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", file.display()));
    }
    store.enforce_retention(&mut blocks, SystemTime::now());
    assert_eq!(numbers(&commit(&mut store, vec![blind("four")])), [Some(4)]);
    assert_eq!(ids(&settings), [1, 4]);
    assert_eq!(store.blocks().unwrap().len(), 1, "the blocks are written again");
    fs::remove_file(&file).unwrap();
    store.enforce_retention(&mut blocks, SystemTime::now());
    assert_eq!(numbers(&commit(&mut store, vec![blind("five")])), [Some(5)]);
    assert_eq!((ids(&settings), store.blocks().unwrap().len()), (vec![5], 1));
}

#[test]
fn without_a_store_events_are_not_marked() {
    let mut store = EventStore::disabled();
    let told = commit(&mut store, vec![blind("one")]);
    assert_eq!((told[0].id, told[0].uncommitted), (None, false));
    store.enforce_retention(&mut saved_blocks(), SystemTime::now());
    assert_eq!(store.health(), StoreHealth::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the sizes of the batches, the restarts and the texts: all is there once, in its order.
    #[test]
    fn what_is_committed_is_there_once_and_in_its_order(
        batches in proptest::collection::vec((proptest::collection::vec("\\PC{0,40}", 0..5), any::<bool>()), 1..8),
    ) {
        let (_folder, settings) = place();
        let mut store = EventStore::open(settings.clone(), render);
        let mut told = Vec::new();
        for (texts, restart) in batches {
            if restart {
                store = EventStore::open(settings.clone(), render);
            }
            told.extend(commit(&mut store, texts.iter().map(|text| blind(text)).collect()));
        }
        let expected: Vec<_> = told.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let found: Vec<_> = entries(&settings).into_iter().map(|entry| entry.json).collect();
        prop_assert_eq!(found, expected);
        let numbers: Vec<_> = (1..=u64::try_from(told.len()).unwrap()).collect();
        prop_assert_eq!(ids(&settings), numbers);
    }
}
