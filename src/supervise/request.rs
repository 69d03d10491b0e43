//! The fleet's part for requests: what is selected, whether it makes sense, and the plan for it.

use std::collections::BTreeSet;

use super::{
    admission::{self, Admission},
    fleet::Fleet,
    state::{Intent, Phase, State, Then},
};
use crate::{
    model::{Action, GuestName, JobId, Now, Outlook, Rejection, Selection, StopWait, Verb, path},
    plan::{self, Plan, Standing},
};

impl Fleet {
    /// What is asked for is wanted from now on, also of those whose turn comes later.
    pub(super) fn wish(&mut self, verb: Verb, plan: &Plan) {
        match verb {
            // Those that are up have no turn.
            Verb::Start => {
                for name in &plan.already {
                    if let Some(state) = self.states.get_mut(name)
                        && matches!(state.phase, Phase::Up(_) | Phase::Frozen(_))
                    {
                        state.want(Intent::Up);
                    }
                }
            }
            Verb::Stop | Verb::Kill => {
                let guests = plan.steps.iter().map(|step| &step.guest);
                for name in guests {
                    if let Some(state) = self.states.get_mut(name) {
                        state.want(Intent::Down);
                    }
                }
            }
            _ => {}
        }
    }

    /// Those who were to be stopped and are not any more: whoever runs, or will by itself, may go on.
    pub(super) fn spare(&mut self, names: Vec<GuestName>) {
        for name in names {
            if self.jobs.values().any(|job| job.is_to_stop(&name)) {
                continue;
            }
            if let Some(state) = self.states.get_mut(&name)
                && !is_down_for_good(&state.phase)
            {
                state.want(Intent::Up);
            }
        }
    }

    /// Whether a guest counts as running for a plan. On the way up, one that is still being started does not: whoever
    /// needs it must wait for it.
    fn is_running(&self, verb: Verb) -> impl Fn(&GuestName) -> bool + '_ {
        let is_up =
            |state: &State| matches!(state.phase, Phase::Up(_) | Phase::Frozen(_) | Phase::Rebooting { .. });
        move |name| {
            let state = self.states.get(name);
            state.is_some_and(|state| if verb == Verb::Start { is_up(state) } else { state.may_run() })
        }
    }

    /// What a bulk request would do now.
    ///
    /// # Errors
    /// [`Rejection::ForeignPath`] when its lxcpath is none of ours.
    pub fn plan(&self, action: Action, selection: &Selection) -> Result<Outlook, Rejection> {
        self.plan_bulk(action, selection).map(Outlook::from)
    }

    fn plan_bulk(&self, action: Action, selection: &Selection) -> Result<Plan, Rejection> {
        let mut selection = selection.clone();
        if let Some(path) = selection.lxcpath.take() {
            let managed = &self.published.daemon.lxcpaths;
            let Some(meant) = path::meant(managed, &path) else {
                let managed: Vec<_> = managed.iter().map(|path| path.display().to_string()).collect();
                return Err(Rejection::ForeignPath { path, managed: managed.join(", ") });
            };
            selection.lxcpath = Some(meant.clone());
        }
        if selection.boot {
            let groups = self.rules.boot_groups.iter();
            selection.groups = groups.filter(|group| !self.booted.contains(*group)).cloned().collect();
            if selection.groups.is_empty() {
                return Ok(Plan::default());
            }
        }
        let is_running = self.is_running(action.into());
        let standing = Standing { is_running: &is_running, held: &self.held() };
        Ok(plan::autostart(&self.guests, &selection, action, self.rules.order, standing))
    }

    fn plan_operation(&self, verb: Verb, name: &GuestName) -> Plan {
        let is_running = self.is_running(verb);
        let standing = Standing { is_running: &is_running, held: &self.held() };
        plan::operation(&self.guests, std::slice::from_ref(name), verb, self.rules.order, standing)
    }

    fn held(&self) -> impl Fn(&GuestName) -> Option<String> + '_ {
        |name| self.states.get(name).and_then(|state| state.held.clone())
    }

    /// Begins a bulk request.
    ///
    /// # Errors
    /// [`Rejection`] says why nothing was begun.
    pub fn autostart(
        &mut self,
        action: Action,
        selection: &Selection,
        wait: StopWait,
        now: Now,
    ) -> Result<JobId, Rejection> {
        let plan = self.plan_bulk(action, selection)?;
        // A boot of one lxcpath leaves the other ones to be booted.
        let is_whole_boot = action == Action::Start && selection.boot && selection.lxcpath.is_none();
        let groups = self.rules.boot_groups.iter().filter(|_| is_whole_boot);
        let brings_up = groups.cloned().collect();
        Ok(self.submit(action.into(), wait, plan, brings_up, now))
    }

    /// Begins a request about one guest and those that it depends on, or that depend on it.
    ///
    /// # Errors
    /// [`Rejection`] says why nothing was begun.
    pub fn operate(
        &mut self,
        verb: Verb,
        name: &GuestName,
        wait: StopWait,
        reason: Option<String>,
        now: Now,
    ) -> Result<JobId, Rejection> {
        let (Some(state), Some(guest)) = (self.states.get_mut(name), self.guests.get(name)) else {
            return Err(Rejection::NoSuchGuest(name.to_string()));
        };
        let admitted = admission::admit(verb, state, guest);
        if let Admission::Denied(why) = admitted {
            return Err(Rejection::Refused { guest: name.clone(), reason: why.to_owned() });
        }
        match verb {
            // Held again without a reason, it keeps the one it has.
            Verb::Hold => {
                let known = state.held.take();
                state.held = reason.or(known).or_else(|| Some("held by an operator".into()));
            }
            Verb::Release => state.held = None,
            _ => {}
        }
        let mut plan = self.plan_operation(verb, name);
        if let Some((guest, reason)) = plan.refused.iter().find(|(refused, _)| refused == name) {
            return Err(Rejection::Refused { guest: guest.clone(), reason: reason.clone() });
        }
        if verb == Verb::Release && admitted == Admission::Already {
            plan.already.extend(plan.steps.drain(..).map(|step| step.guest));
        }
        Ok(self.submit(verb, wait, plan, BTreeSet::new(), now))
    }
}

/// Whether a guest is down, or on its way there, and stays so.
fn is_down_for_good(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Down(_) | Phase::Failed { .. } | Phase::Stopping { then: Then::Stay(_) | Then::Fail(_), .. }
    )
}
