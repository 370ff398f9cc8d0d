//! Reports over made-up agents and stores match their schemas.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::cli::output::json::document;
use crate::export::alerts::{Message, render, test_alert};
use crate::model::alert::ReceiverKind;
use crate::model::control::{ErrorResponse, Reply, Request, Response};
use crate::testing::schema::check;
use crate::testing::view::{blind, healthy, hostile, idle, oversize};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_status_of_any_agent_and_its_reply() {
    for view in [healthy(), oversize(), blind(), idle(), hostile()] {
        check("status", &json(&document(&view.status).unwrap())).unwrap();
        let reply = Reply(Ok(Response::Status(Box::new(view.status)))).line();
        check("control-reply", &serde_json::from_slice(&reply).unwrap()).unwrap();
    }
}

#[test]
fn requests_and_refusals() {
    let refusal = Reply(Err(ErrorResponse::usage("it makes no sense"))).line();
    check("control-reply", &serde_json::from_slice(&refusal).unwrap()).unwrap();
    for request in [Request::Status, Request::Revoke { id: 7 }, Request::Block { namespace: "namespace0.0".to_owned() }]
    {
        check("control-request", &serde_json::from_slice(&request.line().unwrap()).unwrap()).unwrap();
    }
    let neither = serde_json::to_value(BTreeMap::from([("schema", 1)])).unwrap();
    assert!(check("control-reply", &neither).is_err());
}

#[test]
fn what_a_webhook_is_sent() {
    let now = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    for ended in [None, Some(now)] {
        let alert = test_alert("host1", "file:///runbook.md#");
        let message = Message { receiver: "hook".to_owned(), alert, since: UNIX_EPOCH, ended };
        check("webhook", &json(&render(ReceiverKind::Webhook, &[message], now).body)).unwrap();
    }
}
