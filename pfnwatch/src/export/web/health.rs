//! Whether the agent is ready, in a line.

use crate::model::view::View;

pub(super) fn readiness(view: &View) -> Result<String, String> {
    let agent = &view.status.agent;
    match (view.ready(), agent.observing) {
        (Err(why), _) => Err(format!("not ready: {why}\n")),
        (Ok(()), true) => Ok("ready: the programs are attached and the namespaces are read\n".to_owned()),
        (Ok(()), false) => {
            Ok(format!("ready, and idle: {}\n", agent.reason.as_deref().unwrap_or("there is nothing to do")))
        }
    }
}
