//! What is sent, in which order, how often.

use std::collections::BTreeMap;

use super::*;
use crate::alerts::{Alert, Findings, Name, Stood};

/// A journal of the test's own, which may be failing.
#[derive(Default)]
struct Kept {
    rows: BTreeMap<i64, (String, Option<String>)>,
    next: i64,
    failing: bool,
}

impl Keeper for Kept {
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

fn receiver(name: &str, kind: Kind) -> Receiver {
    Receiver {
        name: name.to_owned(),
        kind,
        url: "http://127.0.0.1:1".to_owned(),
        ca_file: None,
        bearer_token_file: None,
        timeout: Duration::from_secs(1),
    }
}

struct Host {
    courier: Courier,
    kept: Kept,
    now: Instant,
    wall: SystemTime,
}

impl Host {
    fn new(kinds: &[(&str, Kind)]) -> Self {
        let mut host = Self {
            courier: Courier::default(),
            kept: Kept::default(),
            now: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
        };
        host.courier.serve(kinds.iter().map(|(name, kind)| receiver(name, *kind)).collect(), host.now, &mut host.kept);
        host
    }

    fn tell(&mut self, name: Name, ended: Option<u64>) {
        let stood = Stood { alert: Alert::new(name, "host1", None), since: self.wall, told: Default::default() };
        let ended = ended.map(|seconds| self.wall + Duration::from_secs(seconds));
        let fingerprint = stood.alert.fingerprint();
        let change = Change { fingerprint, stood, ended, receivers: self.courier.names() };
        self.courier.tell(&change, self.now, &mut self.kept);
    }

    /// What is sent now.
    fn jobs(&mut self) -> Vec<Job> {
        self.courier.jobs(self.now, self.wall)
    }

    fn done(&mut self, job: &Job, outcome: &Outcome) {
        self.courier.done(&job.delivery, outcome, (self.now, self.wall), 7, &mut self.kept);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.wall += Duration::from_secs(seconds);
    }
}

fn states(jobs: &[Job]) -> Vec<&'static str> {
    let state = |job: &Job| if job.post.key.ends_with("-resolved") { "resolved" } else { "firing" };
    jobs.iter().map(state).collect()
}

fn failed() -> Outcome {
    Outcome::failed("it answered 500".to_owned())
}

#[test]
fn one_at_a_time_and_in_order() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    host.tell(Name::Blind, Some(5));
    let first = host.jobs();
    assert_eq!(states(&first), ["firing"]);
    assert!(host.jobs().is_empty() && host.courier.due().is_none(), "a second beside the first");
    host.done(&first[0], &Outcome::Taken);
    let second = host.jobs();
    assert_eq!(states(&second), ["resolved"]);
    host.done(&second[0], &Outcome::Taken);
    assert!(host.courier.due().is_none() && host.kept.rows.is_empty());
    assert_eq!((host.courier.deliveries()[0].delivered, host.courier.deliveries()[0].failed), (2, 0));
}

#[test]
fn an_outage_is_waited_out_with_pauses_and_nothing_is_lost() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    let mut attempts = 0;
    let mut pauses = Vec::new();
    while attempts < 12 {
        let jobs = host.jobs();
        if let [job] = jobs.as_slice() {
            attempts += 1;
            host.done(job, &failed());
            pauses.push(host.courier.due().unwrap() - host.now);
        }
        host.pass(1);
    }
    assert!(
        pauses.is_sorted_by(|one, next| one <= next) && pauses.iter().all(|pause| *pause <= backoff::LONGEST),
        "{pauses:?}"
    );
    let tally = host.courier.deliveries()[0].clone();
    assert_eq!((tally.failed, tally.pending, tally.error.as_deref()), (12, 1, Some("it answered 500")));
    assert_eq!(host.kept.rows[&1].1.as_deref(), Some("it answered 500"));
    host.pass(300);
    let jobs = host.jobs();
    host.done(&jobs[0], &Outcome::Taken);
    assert_eq!(host.courier.deliveries()[0].error, None);
    assert!(host.kept.rows.is_empty());
}

#[test]
fn what_is_refused_is_kept_as_that_and_the_others_go_on() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    host.tell(Name::JournalFailing, None);
    let jobs = host.jobs();
    host.done(&jobs[0], &Outcome::Refused("it answered 400".to_owned()));
    let jobs = host.jobs();
    host.done(&jobs[0], &Outcome::Taken);
    let tally = &host.courier.deliveries()[0];
    assert_eq!((tally.delivered, tally.given_up, tally.pending), (1, 1, 0));
    assert_eq!(host.kept.rows.values().map(|row| &*row.0).collect::<Vec<_>>(), ["given up"]);
}

#[test]
fn one_message_that_fails_holds_up_its_own_alert_alone() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    let jobs = host.jobs();
    host.done(&jobs[0], &failed());
    host.tell(Name::Blind, Some(1));
    host.tell(Name::JournalFailing, None);
    let jobs = host.jobs();
    let expected = Alert::new(Name::JournalFailing, "host1", None).fingerprint();
    assert!(jobs[0].post.key.starts_with(&expected), "{jobs:?}");
}

#[test]
fn what_comes_and_goes_during_an_outage_is_merged() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    let under_way = host.jobs();
    for seconds in 0..100 {
        host.pass(1);
        host.tell(Name::Blind, (seconds % 2 == 0).then_some(0));
    }
    host.done(&under_way[0], &failed());
    assert!(host.courier.outbox().iter().count() <= 3 && host.kept.rows.len() <= 3, "{:?}", host.courier.outbox());
    let mut said = Vec::new();
    for _ in 0..10 {
        host.pass(400);
        for job in host.jobs() {
            said.extend(states(std::slice::from_ref(&job)));
            host.done(&job, &Outcome::Taken);
        }
    }
    assert_eq!(said, ["firing", "resolved", "firing"]);
}

#[test]
fn a_journal_that_fails_for_a_while_has_it_later() {
    let mut host = Host::new(&[("hook", Kind::Webhook)]);
    host.kept.failing = true;
    host.tell(Name::Blind, None);
    assert!(host.kept.rows.is_empty());
    host.kept.failing = false;
    host.courier.outbox_mut().keep(&mut host.kept);
    host.courier.outbox_mut().keep(&mut host.kept);
    assert_eq!(host.kept.rows.len(), 1);
}

#[test]
fn alertmanager_is_told_again_of_what_stands_and_of_nothing_else() {
    let mut host = Host::new(&[("am", Kind::Alertmanager), ("hook", Kind::Webhook)]);
    let mut standing = Standing::default();
    let both = [Name::Blind, Name::JournalFailing].map(|name| Alert::new(name, "host1", None));
    let findings = Findings { standing: both.to_vec(), ..Findings::default() };
    standing.follow(&findings, &[], host.wall);
    host.tell(Name::Blind, None);
    for job in host.jobs() {
        host.done(&job, &failed());
    }
    // What waits is not said again beside that.
    let again = host.courier.again(&standing, host.now, host.wall);
    assert_eq!(again.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&again[0].post.body).unwrap();
    assert_eq!(
        (body.as_array().unwrap().len(), &body[0]["labels"]["alertname"]),
        (1, &"PfnwatchJournalFailing".into())
    );
    assert_eq!(
        (&body[0]["startsAt"], &body[0]["endsAt"]),
        (&"1970-01-01T00:00:00.000Z".into(), &"1970-01-01T00:08:00.000Z".into())
    );
    host.done(&again[0], &Outcome::Taken);
    host.pass(119);
    assert!(host.courier.again(&standing, host.now, host.wall).is_empty());
    host.pass(1);
    assert_eq!(host.courier.again(&standing, host.now, host.wall).len(), 1);
}

#[test]
fn who_is_served_no_more_is_given_up_aloud() {
    let mut host = Host::new(&[("hook", Kind::Webhook), ("other", Kind::Webhook)]);
    host.tell(Name::Blind, None);
    host.courier.serve(vec![receiver("other", Kind::Webhook)], host.now, &mut host.kept);
    assert_eq!(host.courier.outbox().iter().count(), 1);
    assert_eq!(host.kept.rows.values().filter(|row| row.0 == "given up").count(), 1);
}
