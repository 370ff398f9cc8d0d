use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::model::alert::ReceiverKind;

const ONE: &str = "[[alerts.receivers]]\nname = \"am\"\ntype = \"alertmanager\"\n";

#[test]
fn receivers_are_taken() {
    let text = format!(
        "[alerts]\nrunbook = \"https://wiki/#\"\n{ONE}url = \"http://[::1]:9093/alerts/\"\ntimeout = \"3s\"\n\
         ca_file = \"/ca.pem\"\nbearer_token_file = \"/token\"\n\
         [[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"https://example.com/x?y=z\"\n"
    );
    let policy = Config::parse(&text).unwrap().alerts();
    assert_eq!(policy.runbook, "https://wiki/#");
    let [am, hook] = policy.receivers.as_slice() else { panic!("{policy:?}") };
    assert_eq!((am.kind, &*am.url), (ReceiverKind::Alertmanager, "http://[::1]:9093/alerts/api/v2/alerts"));
    assert_eq!((am.timeout, am.ca_file.as_deref()), (Duration::from_secs(3), Some(Path::new("/ca.pem"))));
    assert_eq!(
        (hook.kind, &*hook.url, hook.timeout.as_secs()),
        (ReceiverKind::Webhook, "https://example.com/x?y=z", 10)
    );
    assert!(!format!("{policy:?}").contains("y=z"), "a URL may hold a secret: {policy:?}");
}

#[test]
fn the_whole_path_may_be_given() {
    let text = format!("{ONE}url = \"http://am:9093/api/v2/alerts\"\n");
    assert_eq!(Config::parse(&text).unwrap().alerts().receivers[0].url, "http://am:9093/api/v2/alerts");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let url = "url = \"http://am\"\n";
    for (text, place, said) in [
        (format!("{ONE}url = \"am:9093\""), "line 4, column 7", "must begin with http"),
        (format!("{ONE}url = \"http://user:secret@am\""), "line 4, column 7", "bearer_token_file"),
        (format!("{ONE}url = \"ftp://am\""), "line 4, column 7", "must begin with http"),
        (format!("{ONE}url = \"http://a b\""), "line 4, column 7", "is no URL"),
        (format!("{ONE}{url}timeout = \"1ms\""), "line 5, column 11", "from 1s to 60s"),
        (format!("{ONE}{url}timeout = \"soon\""), "line 5, column 11", "timeout is"),
        (format!("{ONE}{url}ca_file = \"ca.pem\""), "line 5, column 11", "whole path"),
        (format!("{ONE}{url}retries = 3"), "line 5, column 1", "unknown field"),
        (ONE.to_owned(), "line 1, column 1", "missing field `url`"),
        (ONE.replace("\"am\"", "\"a b\"") + url, "line 2, column 8", "letters, digits"),
        (ONE.replace("alertmanager", "email") + url, "line 3, column 8", "unknown variant"),
        ("[alerts]\nrunbook = \"\"".to_owned(), "line 2, column 11", "runbook must be"),
        (format!("{ONE}{url}{ONE}{url}"), "line 1", "two receivers are called \"am\""),
    ] {
        let error = Config::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(place) && error.contains(said), "{text}: {error}");
        assert!(!error.lines().last().unwrap().contains("secret"), "{error}");
    }
}

#[test]
fn there_are_only_so_many() {
    let one = |number: usize| ONE.replace("\"am\"", &format!("\"r{number}\"")) + "url = \"http://am\"\n";
    assert_eq!(Config::parse(&(0..16).map(one).collect::<String>()).unwrap().alerts().receivers.len(), 16);
    assert!(Config::parse(&(0..17).map(one).collect::<String>()).unwrap_err().to_string().contains("more than 16"));
}
