//! What is sent, in which order, how often.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::export::alerts::{Findings, FiringAlert, tests};
use crate::model::alert::{Alert, AlertName};

#[derive(Default)]
struct RecordingStore {
    rows: BTreeMap<i64, (String, Option<String>)>,
    next: i64,
    failing: bool,
}

impl OutboxStore for RecordingStore {
    fn put(&mut self, message: &Message, _: &str) -> Option<i64> {
        if self.failing {
            return None;
        }
        self.next += 1;
        self.rows.insert(self.next, (message.state().to_owned(), None));
        Some(self.next)
    }
    fn forget(&mut self, id: i64) -> Option<()> {
        self.rows.remove(&id).map(drop)
    }
    fn postpone(&mut self, id: i64, _: SystemTime, error: &str) -> Option<()> {
        self.rows.get_mut(&id).map(|row| row.1 = Some(error.to_owned()))
    }
    fn give_up(&mut self, id: i64, error: &str) -> Option<()> {
        self.rows.get_mut(&id).map(|row| *row = ("given up".to_owned(), Some(error.to_owned())))
    }
}

fn receiver(name: &str, kind: ReceiverKind) -> Receiver {
    tests::receiver(name, kind, "http://127.0.0.1:1")
}

struct TestHost {
    dispatcher: Dispatcher,
    store: RecordingStore,
    now: Duration,
    wall: SystemTime,
}

impl TestHost {
    fn new(kinds: &[(&str, ReceiverKind)]) -> Self {
        let mut host = Self {
            dispatcher: Dispatcher::default(),
            store: RecordingStore::default(),
            now: Duration::from_secs(1000),
            wall: SystemTime::UNIX_EPOCH,
        };
        host.dispatcher.set_receivers(
            kinds.iter().map(|(name, kind)| receiver(name, *kind)).collect(),
            host.now,
            &mut host.store,
        );
        host
    }

    fn enqueue(&mut self, name: AlertName, ended: Option<u64>) {
        let stood =
            FiringAlert { alert: Alert::new(name, "host1", None), since: self.wall, sent_to: Default::default() };
        let ended = ended.map(|seconds| self.wall + Duration::from_secs(seconds));
        let fingerprint = stood.alert.fingerprint();
        let change = AlertChange { fingerprint, firing: stood, ended, receivers: self.dispatcher.names() };
        self.dispatcher.enqueue(&change, self.now, &mut self.store);
    }

    fn jobs(&mut self) -> Vec<DeliveryJob> {
        self.dispatcher.jobs(self.now, self.wall)
    }

    fn done(&mut self, job: &DeliveryJob, outcome: &DeliveryResult) {
        self.dispatcher.on_outcome(&job.delivery, outcome, (self.now, self.wall), 7, &mut self.store);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.wall += Duration::from_secs(seconds);
    }
}

fn states(jobs: &[DeliveryJob]) -> Vec<&'static str> {
    let state = |job: &DeliveryJob| if job.payload.key.ends_with("-resolved") { "resolved" } else { "firing" };
    jobs.iter().map(state).collect()
}

fn failed() -> DeliveryResult {
    DeliveryResult::failed("it answered 500".to_owned())
}

#[test]
fn one_at_a_time_and_in_order() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    host.enqueue(AlertName::Blind, Some(5));
    let first = host.jobs();
    assert_eq!(states(&first), ["firing"]);
    assert!(host.jobs().is_empty() && host.dispatcher.due().is_none(), "a second beside the first");
    host.done(&first[0], &DeliveryResult::Delivered);
    let second = host.jobs();
    assert_eq!(states(&second), ["resolved"]);
    host.done(&second[0], &DeliveryResult::Delivered);
    assert!(host.dispatcher.due().is_none() && host.store.rows.is_empty());
    assert_eq!((host.dispatcher.deliveries()[0].delivered, host.dispatcher.deliveries()[0].failed), (2, 0));
}

#[test]
fn an_outage_is_waited_out_with_pauses_and_nothing_is_lost() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    let mut attempts = 0;
    let mut pauses = Vec::new();
    while attempts < 12 {
        let jobs = host.jobs();
        if let [job] = jobs.as_slice() {
            attempts += 1;
            host.done(job, &failed());
            pauses.push(host.dispatcher.due().unwrap() - host.now);
        }
        host.pass(1);
    }
    assert!(
        pauses.is_sorted_by(|one, next| one <= next) && pauses.iter().all(|pause| *pause <= MAX_RETRY_DELAY),
        "{pauses:?}"
    );
    let tally = host.dispatcher.deliveries()[0].clone();
    assert_eq!((tally.failed, tally.pending, tally.error.as_deref()), (12, 1, Some("it answered 500")));
    assert_eq!(host.store.rows[&1].1.as_deref(), Some("it answered 500"));
    host.pass(300);
    let jobs = host.jobs();
    host.done(&jobs[0], &DeliveryResult::Delivered);
    assert_eq!(host.dispatcher.deliveries()[0].error, None);
    assert!(host.store.rows.is_empty());
}

#[test]
fn what_is_refused_is_kept_as_that_and_the_others_go_on() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    host.enqueue(AlertName::StoreFailing, None);
    let jobs = host.jobs();
    host.done(&jobs[0], &DeliveryResult::Rejected("it answered 400".to_owned()));
    let jobs = host.jobs();
    host.done(&jobs[0], &DeliveryResult::Delivered);
    let tally = &host.dispatcher.deliveries()[0];
    assert_eq!((tally.delivered, tally.given_up, tally.pending), (1, 1, 0));
    assert_eq!(host.store.rows.values().map(|row| &*row.0).collect::<Vec<_>>(), ["given up"]);
}

#[test]
fn one_message_that_fails_holds_up_its_own_alert_alone() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    let jobs = host.jobs();
    host.done(&jobs[0], &failed());
    host.enqueue(AlertName::Blind, Some(1));
    host.enqueue(AlertName::StoreFailing, None);
    let jobs = host.jobs();
    let expected = Alert::new(AlertName::StoreFailing, "host1", None).fingerprint();
    assert!(jobs[0].payload.key.starts_with(&expected), "{jobs:?}");
}

#[test]
fn what_comes_and_goes_during_an_outage_is_merged() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    let under_way = host.jobs();
    for seconds in 0..100 {
        host.pass(1);
        host.enqueue(AlertName::Blind, (seconds % 2 == 0).then_some(0));
    }
    host.done(&under_way[0], &failed());
    assert!(
        host.dispatcher.outbox().iter().count() <= 3 && host.store.rows.len() <= 3,
        "{:?}",
        host.dispatcher.outbox()
    );
    let mut said = Vec::new();
    for _ in 0..10 {
        host.pass(400);
        for job in host.jobs() {
            said.extend(states(std::slice::from_ref(&job)));
            host.done(&job, &DeliveryResult::Delivered);
        }
    }
    assert_eq!(said, ["firing", "resolved", "firing"]);
}

/// Alert number `number`, as a row of the store has it.
fn message(receiver: &str, number: usize, ended: bool) -> Message {
    let since = SystemTime::UNIX_EPOCH;
    let alert = Alert::new(AlertName::NamespaceOversize, "host1", Some(("namespace_uuid", number.to_string())));
    Message { receiver: receiver.to_owned(), alert, since, ended: ended.then_some(since + Duration::from_secs(1)) }
}

#[test]
fn any_number_of_messages_is_merged_when_they_are_restored() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook), ("other", ReceiverKind::Webhook)]);
    let mut rows = Vec::new();
    for pair in 0..3000_u64 {
        for ended in [false, true] {
            for (receiver, number) in [("hook", 0), ("hook", 1), ("other", 0)] {
                let shift = Duration::from_secs(pair);
                let message = message(receiver, number, ended);
                let (since, ended) = (message.since + shift, message.ended.map(|time| time + shift));
                let message = Message { since, ended, ..message };
                let id = host.store.put(&message, "").unwrap();
                rows.push((message, 0, id));
            }
        }
    }
    // One that fires again.
    let last = message("other", 0, false);
    let last = Message { since: last.since + Duration::from_secs(9999), ..last };
    let id = host.store.put(&last, "").unwrap();
    rows.push((last, 0, id));
    host.dispatcher.outbox_mut().restore(rows, host.now, &mut host.store);
    let waiting: Vec<_> =
        host.dispatcher.outbox().iter().map(|it| (&*it.message.receiver, it.message.state())).collect();
    let of = |receiver| waiting.iter().filter(|it| it.0 == receiver).map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(of("hook"), ["firing", "firing", "resolved", "resolved"], "the first and the last of each");
    assert_eq!(of("other"), ["firing", "resolved", "firing"]);
    assert_eq!(host.store.rows.len(), waiting.len());
    assert_eq!(host.dispatcher.deliveries()[0].merged, 2 * 5998);
}

#[test]
fn a_receiver_that_is_away_takes_no_room_from_others() {
    let mut host = TestHost::new(&[("away", ReceiverKind::Webhook), ("hook", ReceiverKind::Webhook)]);
    let rows =
        |receiver: &str, count| (0..count).map(|number| (message(receiver, number, false), 0, 0)).collect::<Vec<_>>();
    host.dispatcher.outbox_mut().restore(rows("hook", 1), host.now, &mut host.store);
    host.dispatcher.outbox_mut().restore(rows("away", 5000), host.now, &mut host.store);
    let receivers = ["away", "hook"].map(|name| receiver(name, ReceiverKind::Webhook));
    host.dispatcher.set_receivers(receivers.to_vec(), host.now, &mut host.store);
    let [away, hook] = &host.dispatcher.deliveries()[..] else { panic!() };
    assert_eq!((away.pending, away.given_up, hook.pending, hook.given_up), (2048, 2952, 1, 0));
    host.enqueue(AlertName::Blind, None);
    let [away, hook] = &host.dispatcher.deliveries()[..] else { panic!() };
    assert_eq!((away.pending, away.given_up, hook.pending, hook.given_up), (2048, 2953, 2, 0));
}

#[test]
fn a_store_that_fails_for_a_while_has_it_later() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook)]);
    host.store.failing = true;
    host.enqueue(AlertName::Blind, None);
    assert!(host.store.rows.is_empty());
    host.store.failing = false;
    host.dispatcher.outbox_mut().save(&mut host.store);
    host.dispatcher.outbox_mut().save(&mut host.store);
    assert_eq!(host.store.rows.len(), 1);
}

#[test]
fn alertmanager_is_told_again_of_what_stands_and_of_nothing_else() {
    let mut host = TestHost::new(&[("am", ReceiverKind::Alertmanager), ("hook", ReceiverKind::Webhook)]);
    let mut firing = FiringAlerts::default();
    let both = [AlertName::Blind, AlertName::StoreFailing].map(|name| Alert::new(name, "host1", None));
    let findings = Findings { firing: both.to_vec(), ..Findings::default() };
    firing.follow(&findings, &[], host.wall);
    host.enqueue(AlertName::Blind, None);
    for job in host.jobs() {
        host.done(&job, &failed());
    }
    // A pending message is not sent a second time.
    let again = host.dispatcher.resend_firing(&firing, host.now, host.wall);
    assert_eq!(again.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&again[0].payload.body).unwrap();
    assert_eq!((body.as_array().unwrap().len(), &body[0]["labels"]["alertname"]), (1, &"PfnwatchStoreFailing".into()));
    assert_eq!(
        (&body[0]["startsAt"], &body[0]["endsAt"]),
        (&"1970-01-01T00:00:00.000Z".into(), &"1970-01-01T00:08:00.000Z".into())
    );
    host.done(&again[0], &DeliveryResult::Delivered);
    host.pass(119);
    assert!(host.dispatcher.resend_firing(&firing, host.now, host.wall).is_empty());
    host.pass(1);
    assert_eq!(host.dispatcher.resend_firing(&firing, host.now, host.wall).len(), 1);
}

#[test]
fn who_is_served_no_more_is_given_up_aloud() {
    let mut host = TestHost::new(&[("hook", ReceiverKind::Webhook), ("other", ReceiverKind::Webhook)]);
    host.enqueue(AlertName::Blind, None);
    host.dispatcher.set_receivers(vec![receiver("other", ReceiverKind::Webhook)], host.now, &mut host.store);
    assert_eq!(host.dispatcher.outbox().iter().count(), 1);
    assert_eq!(host.store.rows.values().filter(|row| row.0 == "given up").count(), 1);
}

#[test]
fn it_doubles_up_to_its_end() {
    let longest = |attempts| (0..5000).map(|chance| retry_delay(attempts, chance * 31)).max().unwrap().as_secs();
    assert_eq!([1, 2, 3, 4].map(longest), [5, 10, 19, 39]);
    assert!(retry_delay(7, 149_999) > Duration::from_secs(299) && retry_delay(u32::MAX, 150_000) == MAX_RETRY_DELAY);
}

proptest! {
    #[test]
    fn it_is_never_nothing_and_never_longer_than_the_longest(attempts: u32, chance: u64) {
        let pause = retry_delay(attempts, chance);
        prop_assert!((MIN_RETRY_DELAY / 2..=MAX_RETRY_DELAY).contains(&pause));
    }
}
