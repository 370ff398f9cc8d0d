//! What tests of alerts share.

use std::time::Duration;

use crate::model::alert::{Receiver, ReceiverKind};

pub(super) fn receiver(name: &str, kind: ReceiverKind, url: &str) -> Receiver {
    Receiver {
        name: name.to_owned(),
        kind,
        url: url.to_owned(),
        ca_file: None,
        bearer_token_file: None,
        timeout: Duration::from_secs(1),
    }
}
