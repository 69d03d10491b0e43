//! `process`: what is run in a bundle, and as whom.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerPolicy, PosixRlimit,
    Process, Scheduler as OciScheduler,
};

use crate::{
    import::{
        LIST_MAX, Sourced,
        native::{init, process, security},
    },
    model::native::{LimitKind, ResourceLimit, Scheduler},
};

use super::{Reader, capabilities};

impl Reader<'_> {
    pub(super) fn process(&mut self, said: &Process) {
        self.arguments(said);
        self.environment(said);
        match said.cwd().to_str().and_then(init::inside) {
            Some(directory) => self.native.init.directory = self.said(directory),
            None => self.wrong("process.cwd", said.cwd().display(), "an absolute path, without \"..\""),
        }
        let user = said.user();
        let further = user.additional_gids().clone().unwrap_or_default();
        if further.len() > LIST_MAX {
            let most = format!("at most {LIST_MAX} groups");
            return self.wrong("process.user.additionalGids", further.len(), &most);
        }
        self.native.init.user = self.said((user.uid(), user.gid(), further));
        self.native.process.umask = user.umask().and_then(|umask| self.said(umask & 0o777));
        self.native.security.capabilities = capabilities(said).and_then(|set| self.said(set));
        self.native.security.no_new_privileges = said.no_new_privileges().and_then(|yes| self.said(yes));
        for limit in said.rlimits().iter().flatten() {
            self.limit(limit);
        }
        self.treatment(said);
    }

    fn arguments(&mut self, said: &Process) {
        let Some(arguments) = said.args().as_ref().filter(|arguments| !arguments.is_empty()) else {
            return self.findings.warning(None, || {
                "process.args is empty: /sbin/init is run; write init = [...] in the guest's file for another".into()
            });
        };
        let first = arguments.first().map_or("", String::as_str);
        if first.is_empty() || arguments.iter().any(|argument| argument.contains('\0')) {
            return self.wrong("process.args", first, "a program and its arguments, without NUL characters");
        }
        self.native.init.program = self.said(arguments.clone());
    }

    fn environment(&mut self, said: &Process) {
        for variable in said.env().iter().flatten() {
            match variable.split_once('=') {
                Some((name, value)) if init::is_variable(name) && !value.contains('\0') => {
                    let value = Sourced::new(value.to_owned(), self.origin());
                    self.native.init.environment.insert(name.to_owned(), value);
                }
                _ => self.wrong("an element of process.env", variable, "a variable such as \"TERM=xterm\""),
            }
        }
    }

    fn limit(&mut self, said: &PosixRlimit) {
        let name = said.typ().to_string();
        let key = name.strip_prefix("RLIMIT_").unwrap_or(&name).to_ascii_lowercase();
        let Some(kind) = LimitKind::ALL.into_iter().find(|kind| kind.key() == key) else { return };
        let [soft, hard] = [said.soft(), said.hard()].map(|limit| (limit != u64::MAX).then_some(limit));
        if !process::fits(soft, hard) {
            let key = format!("the soft limit of {name}");
            return self.wrong(&key, said.soft(), "not above the hard one");
        }
        let limit = Sourced::new(ResourceLimit { kind, soft, hard }, self.origin());
        self.native.process.limits.insert(kind, limit);
    }

    fn treatment(&mut self, said: &Process) {
        match said.oom_score_adj() {
            Some(score) if process::OOM_SCORE.contains(&score) => {
                self.native.process.oom_score_adjust = self.said(score);
            }
            Some(score) => self.wrong("process.oomScoreAdj", score, "a whole number from -1000 to 1000"),
            None => {}
        }
        if let Some(scheduler) = said.scheduler() {
            self.scheduler(scheduler);
        }
        if let Some(priority) = said.io_priority() {
            let class = match priority.class() {
                IOPriorityClass::IoprioClassRt => 1,
                IOPriorityClass::IoprioClassBe => 2,
                IOPriorityClass::IoprioClassIdle => 3,
            };
            match u8::try_from(priority.priority()).ok().filter(|level| *level <= 7) {
                Some(level) => {
                    self.native.process.io = self.said((class, if class == 3 { 0 } else { level }))
                }
                None => self.wrong("process.ioPriority.priority", priority.priority(), "from 0 to 7"),
            }
        }
    }

    fn scheduler(&mut self, said: &OciScheduler) {
        const PRIORITY: &str = "process.scheduler.priority";
        match said.nice() {
            Some(nice) if process::NICE.contains(nice) => self.native.process.nice = self.said(*nice),
            Some(nice) => self.wrong("process.scheduler.nice", nice, "a whole number from -20 to 19"),
            None => {}
        }
        let priority = said.priority().and_then(|priority| u8::try_from(priority).ok());
        let priority = priority.filter(|priority| (1..=99).contains(priority));
        let scheduler = match (said.policy(), priority) {
            (LinuxSchedulerPolicy::SchedOther, _) => Scheduler::Other,
            (LinuxSchedulerPolicy::SchedBatch, _) => Scheduler::Batch,
            (LinuxSchedulerPolicy::SchedIdle, _) => Scheduler::Idle,
            (LinuxSchedulerPolicy::SchedFifo, Some(priority)) => Scheduler::Fifo(priority),
            (LinuxSchedulerPolicy::SchedRr, Some(priority)) => Scheduler::RoundRobin(priority),
            (LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr, None) => {
                return self.wrong(PRIORITY, said.priority().unwrap_or_default(), "from 1 to 99");
            }
            (other, _) => {
                const WANTED: &str = "SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO or SCHED_RR";
                return self.wrong("process.scheduler.policy", other, WANTED);
            }
        };
        self.native.process.scheduler = self.said(scheduler);
    }

    pub(super) fn personality(&mut self, said: &LinuxPersonality) {
        let number = match said.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => process::LINUX32,
        };
        self.native.process.personality = self.said(number);
    }

    /// Devices of the host that the guest has too.
    pub(super) fn devices(&mut self, linux: &Linux) {
        let mut devices = Vec::new();
        for device in linux.devices().iter().flatten() {
            match security::device(&device.path().to_string_lossy()) {
                Ok(path) => devices.push(path),
                Err(error) => self.findings.error(None, || format!("an element of linux.devices: {error}")),
            }
        }
        if !devices.is_empty() {
            self.native.security.devices = self.said(devices);
        }
    }
}
