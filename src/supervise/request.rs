//! The fleet's part for requests: what is selected, whether it makes sense, and the plan for it.

use std::collections::BTreeSet;

use super::{
    admission::{self, Admission},
    fleet::Fleet,
    state::{Intent, Phase, State, Then},
};
use crate::{
    model::{
        Action, GuestName, HoldWish, JobId, Now, Outlook, Owner, Rejection, Selection, StopWait, Verb, path,
    },
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
                    match self.states.get_mut(name) {
                        Some(state) if self.lasting.host_stops => state.intent = Intent::Down,
                        Some(state) => state.want(Intent::Down),
                        None => {}
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
    fn is_running<'a>(
        &'a self,
        verb: Verb,
        named: Option<&'a GuestName>,
    ) -> impl Fn(&GuestName) -> bool + 'a {
        let is_up =
            |state: &State| matches!(state.phase, Phase::Up(_) | Phase::Frozen(_) | Phase::Rebooting { .. });
        // Nobody but its cluster manager would start it: its way up is only waited for.
        let comes_up = move |name: &GuestName, state: &State| {
            named != Some(name)
                && matches!(state.phase, Phase::Starting { .. })
                && self.guests.get(name).is_some_and(|guest| guest.owner == Owner::Cluster)
        };
        move |name| {
            self.states.get(name).is_some_and(|state| match verb {
                Verb::Start => is_up(state) || comes_up(name, state),
                _ => state.may_run(),
            })
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
        let is_running = self.is_running(action.into(), None);
        let standing = Standing { is_running: &is_running, held: &self.held(), was_up: &self.was_up() };
        Ok(plan::autostart(&self.guests, &selection, action, self.rules.order, standing))
    }

    fn plan_operation(&self, verb: Verb, name: &GuestName) -> Plan {
        let is_running = self.is_running(verb, Some(name));
        let standing = Standing { is_running: &is_running, held: &self.held(), was_up: &self.was_up() };
        plan::operation(&self.guests, std::slice::from_ref(name), verb, self.rules.order, standing)
    }

    fn held(&self) -> impl Fn(&GuestName) -> Option<String> + '_ {
        |name| self.states.get(name)?.held.as_ref().map(|hold| hold.reason.clone())
    }

    fn was_up(&self) -> impl Fn(&GuestName) -> bool + '_ {
        |name| self.states.get(name).is_some_and(|state| state.was_up)
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
        hold: HoldWish,
        now: Now,
    ) -> Result<JobId, Rejection> {
        let (Some(state), Some(guest)) = (self.states.get(name), self.guests.get(name)) else {
            return Err(Rejection::NoSuchGuest(name.to_string()));
        };
        let admitted = admission::admit(verb, state, guest);
        if let Admission::Denied(why) = admitted {
            return Err(Rejection::Refused { guest: name.clone(), reason: why.to_owned() });
        }
        match verb {
            Verb::Hold => self.hold(name, hold, now)?,
            Verb::Release => self.release(name),
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
