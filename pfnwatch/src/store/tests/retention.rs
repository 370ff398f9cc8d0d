//! What is too old or too much goes, and the file becomes smaller.

use super::*;
use crate::model::store::Settings;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn many(count: usize, ago: Duration, length: usize) -> Vec<Event> {
    let time = Time(SystemTime::now() - ago);
    let body = |number| Body::Blind(Blind { reason: format!("{number} {}", "x".repeat(length)) });
    (0..count).map(|number| Event::at(time, body(number))).collect()
}

#[test]
fn what_is_too_old_goes_but_for_denials_and_the_last_thousand() {
    let (_folder, settings) = place();
    let settings = Settings { max_age: 10 * DAY, ..settings };
    let mut store = EventStore::open(settings.clone(), render);
    let mut old = denied("namespace0.0");
    old.time = Time(SystemTime::now() - 20 * DAY);
    commit(&mut store, vec![old]);
    commit(&mut store, many(1200, 20 * DAY, 1));
    commit(&mut store, many(500, DAY, 1));
    store.commit(&mut [], &mut saved_blocks());
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    let ids = ids(&settings);
    // The denial, 500 old ones that are among the last 1,000, and the 500 new ones.
    assert_eq!((ids.len(), ids[0], ids[1]), (1001, 1, 702));
    assert_eq!((store.health().events, store.blocks().unwrap().len()), (1001, 1));
    commit(&mut store, many(2000, 20 * DAY, 1));
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    assert_eq!(store.health().events, 3001, "once an hour is enough");
    store.enforce_retention(&mut Blocks::default(), SystemTime::now() + Duration::from_secs(3600));
    // The denial, the 500 that are a day old, and the last 1,000.
    assert_eq!(store.health().events, 1501);
}

#[test]
fn a_file_that_is_too_large_becomes_smaller() {
    let (_folder, settings) = place();
    let settings = Settings { max_size_bytes: 2 << 20, ..settings };
    let mut store = EventStore::open(settings.clone(), render);
    commit(&mut store, vec![denied("namespace0.0")]);
    for _ in 0..8 {
        commit(&mut store, many(500, Duration::ZERO, 500));
    }
    store.commit(&mut [], &mut saved_blocks());
    assert!(store.health().size_bytes > 4 << 20);
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    let health = store.health();
    assert!(health.size_bytes <= 2 << 20, "{health:?}");
    let ids = ids(&settings);
    assert_eq!((ids[0], *ids.last().unwrap(), health.events), (1, 4001, ids.len().try_into().unwrap()));
    assert!(ids.len() > 500, "no more goes than must: {}", ids.len());
    assert_eq!(store.blocks().unwrap().len(), 1, "info blocks stay");
}
