//! The manager's part for what guests' helpers ask, and for what they have decided by themselves.

use tokio::sync::oneshot;

use super::Manager;
use crate::{
    daemon::handle::HelperRequest,
    helper::wire::{self, Answer, Decision},
    kill_point::KillPoint,
    model::Now,
    supervise::{effect::Topic, event::HelperId, state::State},
    systemd::message,
};

impl Manager {
    /// Has a helper's request decided.
    pub(super) fn helper(&mut self, request: &HelperRequest, reply: oneshot::Sender<Answer>, now: Now) {
        if reply.is_closed() {
            // It waited its two seconds, and has left its own decision in the spool.
            self.take_spool();
            return;
        }
        let is_reboot = matches!(request.event, wire::Event::Reboot | wire::Event::Declined);
        if is_reboot && self.fleet.state(&request.guest).is_some_and(State::is_in_doubt) {
            // It runs, and what it was started with is only known once a look has shown it: without an answer its helper
            // decides by that, and leaves word in the spool.
            return;
        }
        self.last_helper += 1;
        let id = HelperId(self.last_helper);
        self.waiting_helpers.insert(id, reply);
        let text = format!("sent a helper request: {}", request.event.as_str());
        message::info(&request.guest, Topic::Other, text);
        if is_reboot {
            // Includes lie outside of what is watched: whether the configuration changed must be known now.
            self.reread(&request.guest);
        }
        self.fleet.reported(&request.guest, id, request.event, now);
        KillPoint::HelperTaken.pass();
    }

    /// Takes in what helpers decided by themselves.
    pub(super) fn take_spool(&mut self) {
        let now = self.clock.now();
        for recalled in self.store.spooled() {
            let (guest, decision) = (&recalled.guest, recalled.decision.as_str());
            let (event, reason) = (recalled.event.as_str(), &recalled.reason);
            let topic = if recalled.decision == Decision::Stop { Topic::RebootRefused } else { Topic::Other };
            let text = format!("while guestd was away: {event}; decision: {decision}: {reason}");
            message::info(guest, topic, format!("sent a helper request {text}"));
            self.fleet.recall(recalled, now);
            KillPoint::SpoolTaken.pass();
        }
    }
}
