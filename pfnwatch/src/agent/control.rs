//! The requests of the control socket that change something: what is done, and what is reported of it.

use std::time::{Duration, SystemTime};

use super::runtime_info::RuntimeInfo;
use crate::{
    agent::{baseline_watch::BaselineWatch, control_server::Peer},
    bpf::pins::Pins,
    guard::{Guard, info_block_cache::InfoBlockCache},
    model::{
        capacity::{AcceptError, Acceptance, BaselineScope, Regression},
        control::{AcceptedBaseline, Allow, Allowed, ErrorResponse, ModeResponse, Released, Response, Revoked},
        event::{Actor, BaselineAccepted, Body, ExemptionChange, GuardTransfer, ModeChanged, Time},
        policy::Mode,
    },
    store::EventStore,
};

/// A request that was done: the response, and the event that reports it.
pub(super) struct Done {
    pub(super) response: Response,
    pub(super) event: Body,
    /// Whether the guard's state may be another one by now.
    pub(super) changes_guard: bool,
}

impl Done {
    const fn new(response: Response, event: Body) -> Self {
        Self { response, event, changes_guard: false }
    }

    fn with_guard_change(self) -> Self {
        Self { changes_guard: true, ..self }
    }
}

pub(super) fn change_mode(
    guard: &mut Guard,
    runtime_info: &mut RuntimeInfo,
    mode: Mode,
    reason: Option<String>,
    peer: &Peer,
) -> anyhow::Result<Done> {
    let from = guard.change_mode(mode)?;
    runtime_info.on_mode_changed(peer.to_string(), reason.clone());
    let changed = ModeChanged { from, to: mode, by: Some(Actor::from(peer)), reason };
    let response = Response::Mode(ModeResponse { mode, previous_mode: from });
    Ok(Done::new(response, Body::ModeChanged(changed)).with_guard_change())
}

pub(super) fn allow(guard: &mut Guard, allow: Allow, peer: &Peer) -> anyhow::Result<Done> {
    let Allow { subject, once, for_seconds, reason } = allow;
    let grant = guard.grant(subject, once, for_seconds.map(Duration::from_secs), reason, peer.to_string())?;
    let exemption = ExemptionChange { by: Some(Actor::from(peer)), ..guard.exemption_change(&grant) };
    let until = exemption.until.map(|until| until.to_string());
    Ok(Done::new(Response::Allowed(Allowed { id: grant.id, subject, until }), Body::ExemptionGranted(exemption)))
}

pub(super) fn revoke(guard: &mut Guard, id: u64, peer: &Peer) -> Result<Done, ErrorResponse> {
    let Some(grant) = guard.revoke(id)? else {
        return Err(ErrorResponse::usage(format!(
            "there is no exemption {id} that could be withdrawn: `pfnwatch allow --list` shows them"
        )));
    };
    let exemption = ExemptionChange { by: Some(Actor::from(peer)), ..guard.exemption_change(&grant) };
    Ok(Done::new(Response::Revoked(Revoked { id }), Body::ExemptionEnded(exemption)))
}

pub(super) fn accept_baseline(
    baseline: &mut BaselineWatch,
    store: &mut EventStore,
    scope: &BaselineScope,
    reason: String,
    peer: &Peer,
) -> Result<Done, ErrorResponse> {
    let time = Time(SystemTime::now()).to_string();
    let acceptance = Acceptance { by: peer.to_string(), reason: reason.clone(), time };
    let regression = baseline.accept(store, scope, acceptance).map_err(|error| match error {
        AcceptError::NotSaved => ErrorResponse::error(error.to_string()),
        _ => ErrorResponse::usage(error.to_string()),
    })?;
    let accepted = BaselineAccepted::new(regression, reason, Actor::from(peer));
    let Regression { before, after, .. } = accepted.regression.clone();
    let response = AcceptedBaseline { detail: accepted.detail.clone(), before, after };
    Ok(Done::new(Response::BaselineAccepted(Box::new(response)), Body::BaselineAccepted(Box::new(accepted))))
}

/// Removes the pins: the guard then ends with the agent, unless another agent has pinned it again.
pub(super) fn release(guard: &Guard, peer: &Peer) -> anyhow::Result<Done> {
    let removed: Vec<_> = Pins::system().remove()?.iter().map(|pin| pin.display().to_string()).collect();
    let mode = guard.policy().mode;
    let released = GuardTransfer { mode, pins: removed.clone(), by: Some(Actor::from(peer)), detail: None };
    let response = Response::Released(Released { removed, still_guarding: guard.is_attached() });
    Ok(Done::new(response, Body::GuardReleased(released)).with_guard_change())
}

/// The info block that is saved of a namespace.
pub(super) fn block(info_blocks: &InfoBlockCache, namespace: &str) -> Result<Response, ErrorResponse> {
    match info_blocks.find(namespace) {
        Some(saved) => Ok(Response::Block(Box::new(saved.into()))),
        None => Err(ErrorResponse::error(format!("no info block is kept of {namespace}"))),
    }
}
