use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn blind() -> Alert {
    Alert::new(AlertName::Blind, "host1", None)
}

fn finding(firing: Vec<Alert>) -> Findings {
    Findings { firing, ..Findings::default() }
}

fn receivers(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn it_begins_once_and_ends_once() {
    let (mut firing, to) = (FiringAlerts::default(), receivers(&["a", "b"]));
    let begun = firing.follow(&finding(vec![blind()]), &to, at(1));
    assert_eq!((begun.len(), begun[0].ended, &begun[0].receivers), (1, None, &to));
    let said = blind().with_annotations("other words".to_owned(), String::new(), String::new());
    assert!(firing.follow(&finding(vec![said]), &to, at(2)).is_empty());
    assert_eq!(firing.iter().next().unwrap().1.alert.annotation("summary"), "other words");
    let ended = firing.follow(&finding(Vec::new()), &to, at(3));
    assert_eq!((ended.len(), ended[0].firing.since, ended[0].ended), (1, at(1), Some(at(3))));
    assert!(firing.follow(&finding(Vec::new()), &to, at(4)).is_empty());
}

#[test]
fn a_restart_announces_nothing_twice_and_ends_what_is_over() {
    let (mut before, to) = (FiringAlerts::default(), receivers(&["a"]));
    let other = Alert::new(AlertName::StoreFailing, "host1", None);
    let begun = before.follow(&finding(vec![blind(), other.clone()]), &to, at(1));
    let mut firing = FiringAlerts::default();
    // As the event store has it.
    let saved = begun.iter().map(|change| serde_json::to_string(&change.firing).unwrap());
    firing.adopt(saved.map(|json| serde_json::from_str(&json).unwrap()));
    let changes = firing.follow(&finding(vec![other]), &to, at(9));
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].firing.alert.name, changes[0].firing.since), (AlertName::Blind, at(1)));
    assert_eq!(changes[0].ended, Some(at(9)));
}

#[test]
fn a_new_receiver_learns_what_stands_and_a_stranger_not_what_ended() {
    let mut firing = FiringAlerts::default();
    firing.follow(&finding(vec![blind()]), &receivers(&["a"]), at(1));
    let changes = firing.follow(&finding(vec![blind()]), &receivers(&["a", "b"]), at(2));
    assert_eq!((changes.len(), &changes[0].receivers, changes[0].firing.since), (1, &receivers(&["b"]), at(1)));
    let ended = firing.follow(&finding(Vec::new()), &receivers(&["b", "c"]), at(3));
    assert_eq!(ended[0].receivers, receivers(&["b"]));
}

#[test]
fn a_clock_set_back_ends_nothing_before_it_began() {
    let mut firing = FiringAlerts::default();
    firing.follow(&finding(vec![blind()]), &[], at(100));
    assert_eq!(firing.follow(&finding(Vec::new()), &[], at(5))[0].ended, Some(at(100)));
}

#[test]
fn moments_are_told_for_a_while() {
    let mut recently = RecentEvents::default();
    let mut note = |lost, denied, seconds| {
        recently.note(&BTreeMap::from([("lost", lost), ("denied", denied)]), Duration::from_secs(seconds));
        (recently.count(AlertName::RecordsLost), recently.count(AlertName::CreationDenied))
    };
    assert_eq!(note(0, 0, 0), (None, None));
    assert_eq!(note(2, 0, 10), (Some(2), None));
    assert_eq!(note(3, 1, 500), (Some(3), Some(1)));
    assert_eq!(note(3, 1, 10 + 900), (Some(1), Some(1)));
    assert_eq!(note(3, 1, 500 + 900), (None, None));
}
