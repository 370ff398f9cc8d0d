//! What is asked over the control socket, and what comes of it.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use super::{Pipeline, guarding::cannot_enforce};
use crate::{
    baseline::{Acceptance, NotAccepted, Regression, Whose},
    bpf::pins::Pins,
    control::{
        protocol::{AcceptedBaseline, Allow, Allowed, Answer, ModeIs, Refusal, Released, Reply, Request, Revoked},
        server::Peer,
    },
    event::{Actor, BaselineAccepted, Body, Event, Exemption, Handover, ModeChanged, Time},
    policy::Mode,
};

impl<W: Write> Pipeline<W> {
    /// Does what is asked, and says what came of it.
    pub(super) fn answer(&mut self, request: Request, peer: &Peer) -> Reply {
        match request {
            Request::Mode { mode, reason } => self.change_mode(mode, reason, peer).into(),
            Request::Allow(allow) => self.allow(allow, peer).into(),
            Request::Revoke { id } => self.revoke(id, peer).into(),
            Request::AcceptBaseline { whose, reason } => self.accept_baseline(&whose, reason, peer).into(),
            Request::Status => Ok::<_, Refusal>(Answer::Status(Box::new(self.status()))).into(),
            Request::Block { namespace } => self.block(&namespace).into(),
            Request::Alerts => Ok::<_, Refusal>(Answer::Alerts(Box::new(self.alerts_are()))).into(),
            Request::Release => self.release(peer).into(),
        }
    }

    fn change_mode(&mut self, mode: Mode, reason: Option<String>, peer: &Peer) -> Result<Answer, Refusal> {
        if mode == Mode::Enforce
            && let Some(why) = self.obstacle()
        {
            return Err(Refusal::unsupported(cannot_enforce(&why)));
        }
        let from = self.guard.change_mode(mode)?;
        self.said.mode_since = SystemTime::now();
        self.said.mode_by = peer.to_string();
        self.said.mode_reason.clone_from(&reason);
        self.emit(Event::now(Body::ModeChanged(ModeChanged { from, to: mode, by: Some(Actor::from(peer)), reason })))?;
        self.say_guard_state()?;
        Ok(Answer::Mode(ModeIs { mode, was: from }))
    }

    fn allow(&mut self, allow: Allow, peer: &Peer) -> Result<Answer, Refusal> {
        let Allow { subject, once, for_seconds, reason } = allow;
        let duration = for_seconds.map(Duration::from_secs);
        if self.guard.lacks(subject) {
            self.look_for_regions();
        }
        let grant = self.guard.grant(subject, once, duration, reason, peer.to_string())?;
        let exemption = self.exemption(&grant);
        let until = exemption.until.map(|until| until.to_string());
        self.emit(Event::now(Body::ExemptionGranted(Exemption { by: Some(Actor::from(peer)), ..exemption })))?;
        Ok(Answer::Allowed(Allowed { id: grant.id, subject, until }))
    }

    fn revoke(&mut self, id: u64, peer: &Peer) -> Result<Answer, Refusal> {
        let Some(grant) = self.guard.withdraw(id)? else {
            return Err(Refusal::usage(format!(
                "there is no exemption {id} that could be withdrawn: `pfnwatch allow --list` shows them"
            )));
        };
        let exemption = Exemption { by: Some(Actor::from(peer)), ..self.exemption(&grant) };
        self.emit(Event::now(Body::ExemptionEnded(exemption)))?;
        Ok(Answer::Revoked(Revoked { id }))
    }

    fn accept_baseline(&mut self, whose: &Whose, reason: String, peer: &Peer) -> Result<Answer, Refusal> {
        let time = Time(SystemTime::now()).to_string();
        let acceptance = Acceptance { by: peer.to_string(), reason: reason.clone(), time };
        let accepted = self.baseline.accept(&mut self.journal, whose, acceptance);
        let regression = accepted.map_err(|error| match error {
            NotAccepted::NotWritten => Refusal::error(error.to_string()),
            _ => Refusal::usage(error.to_string()),
        })?;
        let accepted = BaselineAccepted::new(regression, reason, Actor::from(peer));
        let Regression { before, after, .. } = accepted.regression.clone();
        let answer = AcceptedBaseline { detail: accepted.detail.clone(), before, after };
        self.emit(Event::now(Body::BaselineAccepted(Box::new(accepted))))?;
        Ok(Answer::BaselineAccepted(Box::new(answer)))
    }

    fn block(&self, namespace: &str) -> Result<Answer, Refusal> {
        let Some(kept) = self.kept.find(namespace) else {
            return Err(Refusal::error(format!("no info block is kept of {namespace}")));
        };
        Ok(Answer::Block(Box::new(kept.into())))
    }

    /// Takes away the pins: the guard then goes with the agent, as long as that is not loaded anew.
    fn release(&mut self, peer: &Peer) -> Result<Answer, Refusal> {
        let removed: Vec<_> = Pins::usual().remove()?.iter().map(|pin| pin.display().to_string()).collect();
        let mode = self.guard.policy().mode;
        let released = Handover { mode, pins: removed.clone(), by: Some(Actor::from(peer)), detail: None };
        self.emit(Event::now(Body::GuardReleased(released)))?;
        self.say_guard_state()?;
        Ok(Answer::Released(Released { removed, still_guarding: self.guard.is_attached() }))
    }
}
