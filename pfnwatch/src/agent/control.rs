//! What is asked over the control socket, and what comes of it.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use super::{Agent, guard::cannot_enforce};
use crate::{
    agent::control_server::Peer,
    bpf::pins::Pins,
    model::{
        capacity::{AcceptError, Acceptance, BaselineScope, Regression},
        control::{
            AcceptedBaseline, Allow, Allowed, ErrorResponse, ModeResponse, Released, Reply, Request, Response, Revoked,
        },
        event::{Actor, BaselineAccepted, Body, Event, ExemptionChange, GuardTransfer, ModeChanged, Time},
        policy::Mode,
    },
};

impl<W: Write> Agent<W> {
    /// Does what is asked, and says what came of it.
    pub(super) fn answer(&mut self, request: Request, peer: &Peer) -> Reply {
        match request {
            Request::Mode { mode, reason } => self.change_mode(mode, reason, peer).into(),
            Request::Allow(allow) => self.allow(allow, peer).into(),
            Request::Revoke { id } => self.revoke(id, peer).into(),
            Request::AcceptBaseline { scope, reason } => self.accept_baseline(&scope, reason, peer).into(),
            Request::Status => Ok::<_, ErrorResponse>(Response::Status(Box::new(self.status()))).into(),
            Request::Block { namespace } => self.block(&namespace).into(),
            Request::Alerts => Ok::<_, ErrorResponse>(Response::Alerts(Box::new(self.alerts_status()))).into(),
            Request::Release => self.release(peer).into(),
        }
    }

    fn change_mode(&mut self, mode: Mode, reason: Option<String>, peer: &Peer) -> Result<Response, ErrorResponse> {
        if mode == Mode::Enforce
            && let Some(why) = self.enforce_obstacle()
        {
            return Err(ErrorResponse::unsupported(cannot_enforce(&why)));
        }
        let from = self.guard.change_mode(mode)?;
        self.runtime_info.mode_since = SystemTime::now();
        self.runtime_info.mode_by = peer.to_string();
        self.runtime_info.mode_reason.clone_from(&reason);
        self.emit(Event::now(Body::ModeChanged(ModeChanged { from, to: mode, by: Some(Actor::from(peer)), reason })))?;
        self.emit_guard_state()?;
        Ok(Response::Mode(ModeResponse { mode, previous_mode: from }))
    }

    fn allow(&mut self, allow: Allow, peer: &Peer) -> Result<Response, ErrorResponse> {
        let Allow { subject, once, for_seconds, reason } = allow;
        let duration = for_seconds.map(Duration::from_secs);
        if self.guard.is_unknown_region(subject) {
            self.update_regions();
        }
        let grant = self.guard.grant(subject, once, duration, reason, peer.to_string())?;
        let exemption = self.exemption(&grant);
        let until = exemption.until.map(|until| until.to_string());
        self.emit(Event::now(Body::ExemptionGranted(ExemptionChange { by: Some(Actor::from(peer)), ..exemption })))?;
        Ok(Response::Allowed(Allowed { id: grant.id, subject, until }))
    }

    fn revoke(&mut self, id: u64, peer: &Peer) -> Result<Response, ErrorResponse> {
        let Some(grant) = self.guard.revoke(id)? else {
            return Err(ErrorResponse::usage(format!(
                "there is no exemption {id} that could be withdrawn: `pfnwatch allow --list` shows them"
            )));
        };
        let exemption = ExemptionChange { by: Some(Actor::from(peer)), ..self.exemption(&grant) };
        self.emit(Event::now(Body::ExemptionEnded(exemption)))?;
        Ok(Response::Revoked(Revoked { id }))
    }

    fn accept_baseline(
        &mut self,
        scope: &BaselineScope,
        reason: String,
        peer: &Peer,
    ) -> Result<Response, ErrorResponse> {
        let time = Time(SystemTime::now()).to_string();
        let acceptance = Acceptance { by: peer.to_string(), reason: reason.clone(), time };
        let accepted = self.baseline.accept(&mut self.store, scope, acceptance);
        let regression = accepted.map_err(|error| match error {
            AcceptError::NotSaved => ErrorResponse::error(error.to_string()),
            _ => ErrorResponse::usage(error.to_string()),
        })?;
        let accepted = BaselineAccepted::new(regression, reason, Actor::from(peer));
        let Regression { before, after, .. } = accepted.regression.clone();
        let answer = AcceptedBaseline { detail: accepted.detail.clone(), before, after };
        self.emit(Event::now(Body::BaselineAccepted(Box::new(accepted))))?;
        Ok(Response::BaselineAccepted(Box::new(answer)))
    }

    fn block(&self, namespace: &str) -> Result<Response, ErrorResponse> {
        let Some(kept) = self.info_blocks.find(namespace) else {
            return Err(ErrorResponse::error(format!("no info block of {namespace} is saved")));
        };
        Ok(Response::Block(Box::new(kept.into())))
    }

    /// Takes away the pins: the guard then goes with the agent, as long as that is not loaded anew.
    fn release(&mut self, peer: &Peer) -> Result<Response, ErrorResponse> {
        let removed: Vec<_> = Pins::system().remove()?.iter().map(|pin| pin.display().to_string()).collect();
        let mode = self.guard.policy().mode;
        let released = GuardTransfer { mode, pins: removed.clone(), by: Some(Actor::from(peer)), detail: None };
        self.emit(Event::now(Body::GuardReleased(released)))?;
        self.emit_guard_state()?;
        Ok(Response::Released(Released { removed, still_guarding: self.guard.is_attached() }))
    }
}
