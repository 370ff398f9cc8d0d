//! The requests of the control socket that change something: what is done, the response, and the event that reports it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::runtime_info::RuntimeInfo;
use crate::agent::baseline_watch::BaselineWatch;
use crate::agent::control_server::Peer;
use crate::guard::Guard;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::capacity::{AcceptError, Acceptance, BaselineScope, Regression};
use crate::model::control::{
    AcceptedBaseline, Allow, Allowed, ErrorResponse, ObservedBlock, Released, Response, Revoked,
};
use crate::model::event::{Actor, BaselineAccepted, Body, ExemptionChange, GuardTransfer, ModeChanged, Time};
use crate::model::policy::Mode;
use crate::store::EventStore;

pub(super) fn change_mode(
    guard: &mut Guard,
    runtime_info: &mut RuntimeInfo,
    mode: Option<Mode>,
    reason: Option<String>,
    peer: &Peer,
    now: SystemTime,
) -> anyhow::Result<ModeChanged> {
    let from = guard.change_mode(mode)?;
    runtime_info.on_mode_changed(peer.to_string(), reason.clone(), now);
    Ok(ModeChanged { from, to: guard.policy().mode, by: Some(Actor::from(peer)), reason })
}

pub(super) fn allow(guard: &mut Guard, allow: Allow, peer: &Peer) -> anyhow::Result<(Response, Body)> {
    let Allow { subject, once, for_seconds, reason } = allow;
    let grant = guard.grant(subject, once, for_seconds.map(Duration::from_secs), reason, peer.to_string())?;
    let exemption = ExemptionChange { by: Some(Actor::from(peer)), ..guard.exemption_change(&grant) };
    let until = exemption.until.map(|until| until.to_string());
    Ok((Response::Allowed(Allowed { id: grant.id, subject, until }), Body::ExemptionGranted(exemption)))
}

pub(super) fn revoke(guard: &mut Guard, id: u64, peer: &Peer) -> Result<(Response, Body), ErrorResponse> {
    let Some(grant) = guard.revoke(id)? else {
        return Err(ErrorResponse::usage(format!(
            "there is no exemption {id} that can be revoked: `pfnwatch allow --list` lists them"
        )));
    };
    let exemption = ExemptionChange { by: Some(Actor::from(peer)), ..guard.exemption_change(&grant) };
    Ok((Response::Revoked(Revoked { id }), Body::ExemptionEnded(exemption)))
}

pub(super) fn accept_baseline(
    baseline: &mut BaselineWatch,
    store: &mut EventStore,
    scope: &BaselineScope,
    reason: String,
    peer: &Peer,
    time: Time,
) -> Result<(Response, Body), ErrorResponse> {
    let acceptance = Acceptance { by: peer.to_string(), reason: reason.clone(), time: time.to_string() };
    let regression = baseline.accept(store, scope, acceptance).map_err(|error| match error {
        AcceptError::NotSaved => ErrorResponse::error(error.to_string()),
        _ => ErrorResponse::usage(error.to_string()),
    })?;
    let accepted = BaselineAccepted::new(regression, reason, Actor::from(peer));
    let Regression { before, after, .. } = accepted.regression.clone();
    let response = AcceptedBaseline { detail: accepted.detail.clone(), before, after };
    Ok((Response::BaselineAccepted(Box::new(response)), Body::BaselineAccepted(Box::new(accepted))))
}

/// The pins were removed.
pub(super) fn released(pins: &[PathBuf], mode: Mode, still_guarding: bool, peer: &Peer) -> (Response, Body) {
    let removed: Vec<_> = pins.iter().map(|pin| pin.display().to_string()).collect();
    let detail = if still_guarding { "the agent guards until it ends" } else { "no guard is left" };
    let event = GuardTransfer { mode, pins: removed.clone(), by: Some(Actor::from(peer)), detail: detail.to_owned() };
    (Response::Released(Released { removed, still_guarding }), Body::GuardReleased(event))
}

/// The info blocks of namespaces as they were seen last, of those that still exist.
pub(super) fn info_blocks(info_blocks: &InfoBlockCache) -> Response {
    let existing = info_blocks.iter().filter(|saved| !saved.destroyed);
    Response::InfoBlocks(
        existing.map(|saved| ObservedBlock::new(saved.namespace.start_address, &saved.bytes())).collect(),
    )
}

/// The info block that is saved of a namespace.
pub(super) fn block(info_blocks: &InfoBlockCache, namespace: &str) -> Result<Response, ErrorResponse> {
    match info_blocks.find(namespace) {
        Some(saved) => Ok(Response::Block(Box::new(saved.into()))),
        None => Err(ErrorResponse::error(format!("no info block is kept of {namespace}"))),
    }
}
