//! A file that the agent before schema 3 wrote, with every kind of event, becomes one of this schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::types::Value as Cell;
use rusqlite::{Transaction, TransactionBehavior};
use serde_json::Value;

use super::*;
use crate::store::event_store::sibling;
use crate::store::schema::{VERSION, migrate_in, version};

/// Written by the code of schema 2. Number 3 was deleted.
const OLD: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schema-2.db"));

/// Columns that the migration may change.
const CHANGED: [&str; 4] = ["json", "kind", "origin", "payload"];

fn old_file() -> (TempDir, Settings, PathBuf) {
    let (folder, settings) = place();
    let file = settings.file.clone().unwrap();
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, OLD).unwrap();
    (folder, settings, file)
}

type Row = BTreeMap<String, Cell>;

/// Every row of every table, by column.
fn rows(connection: &Connection) -> BTreeMap<&'static str, Vec<Row>> {
    let table = |table| {
        let mut query = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<String> = query.column_names().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| {
            // Schema 3 renames this column.
            let new_name = |name: &str| name.replace("set_aside", "superseded");
            // Schema 4 adds this one.
            let kept = names.iter().filter(|name| *name != "memmap_returned");
            kept.map(|name| Ok((new_name(name), row.get(name.as_str())?))).collect::<rusqlite::Result<Row>>()
        };
        let rows = query.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        (table, rows)
    };
    ["events", "blocks", "boots", "costs", "alerts", "deliveries", "sqlite_sequence"].map(table).into()
}

fn documents(rows: &BTreeMap<&str, Vec<Row>>) -> Vec<Value> {
    let text = |row: &Row, name: &str| match row.get(name) {
        Some(Cell::Text(text)) => serde_json::from_str(text).ok(),
        _ => None,
    };
    rows.values()
        .flatten()
        .flat_map(|row| ["json", "payload", "accepted"].map(|name| text(row, name)))
        .flatten()
        .collect()
}

fn numbers_in(value: &Value) -> Vec<String> {
    let mut numbers: Vec<_> = match value {
        Value::Number(number) => vec![number.to_string()],
        Value::Array(list) => list.iter().flat_map(numbers_in).collect(),
        Value::Object(object) => object.values().flat_map(numbers_in).collect(),
        _ => Vec::new(),
    };
    numbers.sort_unstable();
    numbers
}

fn event(rows: &BTreeMap<&str, Vec<Row>>, id: i64) -> Value {
    let row = rows["events"].iter().find(|row| row["id"] == Cell::Integer(id)).unwrap();
    let Cell::Text(json) = &row["json"] else { panic!("{row:?}") };
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_file_of_schema_2_is_migrated_once_and_keeps_all_rows() {
    let (_folder, settings, file) = old_file();
    let old = rows(&raw(&settings));
    let mut store = EventStore::open(settings.clone(), render);
    assert_eq!(store.health().error, None);
    assert_eq!((store.blocks().unwrap().len(), store.boots().unwrap().len(), store.costs().unwrap().len()), (3, 2, 2));
    drop(store);
    let new = rows(&raw(&settings));
    for (table, old) in &old {
        let unchanged = |row: &Row| {
            row.iter()
                .filter(|(name, _)| !CHANGED.contains(&&***name))
                .map(|(_, cell)| cell.clone())
                .collect::<Vec<_>>()
        };
        let (old, new): (Vec<_>, Vec<_>) =
            (old.iter().map(unchanged).collect(), new[table].iter().map(unchanged).collect());
        assert_eq!(old, new, "{table}");
    }
    let (old, new) = (documents(&old), documents(&new));
    assert_eq!(old.iter().map(numbers_in).collect::<Vec<_>>(), new.iter().map(numbers_in).collect::<Vec<_>>());
    // A second start finds nothing to do.
    let migrated = fs::read(&file).unwrap();
    drop(EventStore::open(settings.clone(), render));
    assert_eq!(fs::read(&file).unwrap(), migrated);
    assert_eq!(numbers(&commit(&mut EventStore::open(settings, render), vec![blind("next")])), [Some(47)]);
}

#[test]
fn keys_and_values_get_their_new_names() {
    let (_folder, settings, _) = old_file();
    drop(EventStore::open(settings.clone(), render));
    let new = rows(&raw(&settings));
    let of_kind = |kind: &str| {
        let matches = |row: &&Row| row["kind"] == Cell::Text(kind.to_owned());
        let ids = new["events"].iter().filter(matches).map(|row| &row["id"]);
        let events = ids.map(|id| if let Cell::Integer(id) = id { event(&new, *id) } else { panic!("{id:?}") });
        events.inspect(|event| assert_eq!(event["event"], kind)).collect::<Vec<_>>()
    };
    assert_eq!((of_kind("found").len(), of_kind("undecoded").len()), (0, 0));
    assert_eq!((of_kind("existing_namespace").len(), of_kind("decode_error").len()), (2, 1));
    // What was accepted without a new info block.
    let set_up = event(&new, 2);
    assert_eq!((&set_up["event"], &set_up["block"]), (&"set_up".into(), &"existing".into()));
    assert_eq!(set_up["guard"], serde_json::json!({"decision": "not_seen", "mismatch": true}));
    let replaced = of_kind("would_deny").remove(0)["replaced"].clone();
    assert_eq!((&replaced["origin"], &replaced["restore_commands"]), (&"accepted".into(), &vec!["one", "two"].into()));
    assert!(replaced["still_on_media"].is_boolean() && replaced.get("still_there").is_none(), "{replaced}");
    for row in &new["costs"] {
        let Cell::Text(json) = &row["json"] else { panic!("{row:?}") };
        let cost: Value = serde_json::from_str(json).unwrap();
        assert!(cost["baseline"]["reservation_bytes"].is_u64() && cost.get("least").is_none(), "{cost}");
    }
    assert!(of_kind("unjudged").iter().all(|event| event["reason"].is_string() && event.get("why").is_none()));
    let states = of_kind("guard_state");
    assert!(states.iter().all(|event| event.get("reason").is_some() && event.get("why").is_none()), "{states:?}");
    assert!(states.iter().any(|event| event["reason"].is_null()), "{states:?}");
    assert!(of_kind("stopped").iter().all(|event| event["decode_errors"].is_u64()));
    assert_eq!(of_kind("denied")[0]["detail"], "why put_back found met judged", "texts stay");
    let origins: Vec<_> = new["blocks"].iter().map(|row| row["origin"].clone()).collect();
    assert_eq!(origins, ["read", "made", "accepted"].map(|name| Cell::Text(name.to_owned())));
    let alerts = new["alerts"].iter().chain(&new["deliveries"]).zip([&"json"; 3].into_iter().chain([&"payload"; 6]));
    let mut renamed = 0;
    for (row, column) in alerts {
        let Cell::Text(json) = &row[*column] else { panic!("{row:?}") };
        let json: Value = serde_json::from_str(json).unwrap();
        assert_ne!(json["alert"]["name"], "PfnwatchJournalFailing");
        // Receivers know the alert by its labels.
        renamed += usize::from(
            json["alert"]["name"] == "PfnwatchStoreFailing"
                && json["alert"]["labels"]["alertname"] == "PfnwatchJournalFailing",
        );
        assert_eq!(json.get("sent_to").is_some(), *column == "json");
    }
    assert_eq!(renamed, 3);
}

#[test]
fn an_interrupted_migration_leaves_the_old_file() {
    let (folder, settings, file) = old_file();
    let mut connection = raw(&settings);
    let old = rows(&connection);
    // Pages go to the log before the commit, as those of a large file do.
    connection.pragma_update(None, "cache_size", 1).unwrap();
    let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate).unwrap();
    migrate_in(&transaction).unwrap();
    assert_eq!(version(&transaction).unwrap(), VERSION);
    // What a power failure would leave.
    let crashed = folder.path().join("crashed.db");
    assert!(fs::metadata(sibling(&file, "-wal")).unwrap().len() > 4096);
    for suffix in ["", "-wal"] {
        fs::copy(sibling(&file, suffix), sibling(&crashed, suffix)).unwrap();
    }
    drop(transaction);
    for connection in [connection, Connection::open(crashed).unwrap()] {
        assert_eq!(version(&connection).unwrap(), 2);
        assert_eq!(rows(&connection), old);
    }
}

#[test]
fn commands_read_a_file_of_schema_2_and_do_not_write_to_it() {
    let (_folder, settings, file) = old_file();
    let read = |file| {
        let reader = Reader::open(file).unwrap();
        (reader.last(&EventFilter::default(), 100).unwrap(), reader.boots().unwrap(), reader.costs().unwrap())
    };
    let of_old_file = read(&file);
    assert_eq!(fs::read(&file).unwrap(), OLD);
    drop(EventStore::open(settings, render));
    assert_eq!(read(&file), of_old_file);
    assert_eq!(of_old_file.0.len(), 45);
}

#[test]
fn a_large_file_is_migrated_in_batches_and_what_is_no_json_stays() {
    let (_folder, settings, _) = old_file();
    let insert = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000)
        INSERT INTO events (time_us, kind, denied, json, line)
        SELECT n, 'undecoded', 0, iif(n = 500, 'no JSON', '{\"event\":\"undecoded\",\"n\":' || n || '}'), '' FROM number";
    raw(&settings).execute_batch(insert).unwrap();
    let mut store = EventStore::open(settings.clone(), render);
    assert_eq!(store.health().error, None);
    let of_kind = EventFilter { kinds: vec!["decode_error".to_owned()], after: 46, ..EventFilter::default() };
    let events = Reader::open(settings.file.as_deref().unwrap()).unwrap().last(&of_kind, 2000).unwrap();
    let expected =
        |n: u64| if n == 500 { "no JSON".to_owned() } else { format!(r#"{{"event":"decode_error","n":{n}}}"#) };
    assert_eq!(
        events.iter().map(|event| event.json.clone()).collect::<Vec<_>>(),
        (1..=1000).map(expected).collect::<Vec<_>>()
    );
    assert!(!commit(&mut store, vec![blind("next")])[0].uncommitted);
}
