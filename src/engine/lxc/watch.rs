//! Watching one running container: from its init's first sight to its monitor's end.
//!
//! Three sources are brought into one order: the init's pidfd (it ended), the news from the monitor FIFO (how it
//! ended), and a state client on the command socket (a new init, frozen, thawed). The monitor's own end is the end of
//! everything. What is reported when is decided in `run`, without any input or output.

use std::{
    future::pending,
    path::Path,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    cgroup,
    command::{ANSWER, CommandError, Inits, Monitor, StateClient},
    ground::{Ground, tidy},
    locate::{self, Located},
    locked,
    process::{Process, SIGKILL, ended},
    record::{News, State},
    run::{LAST_WAIT, Report, Run, Seen},
    spec,
    table::Found,
    task::Task,
};
use crate::{
    engine::{Epoch, Init, Observation, Observed, Sink},
    launch::{
        freezer::is_frozen,
        memory::{KernelLog, RECENT},
        unit,
    },
    model::{Guest, LxcSpec, Timestamp, WaitStatus},
};

/// Pause before a monitor that closed its connection is asked again, and how often that is tried.
const RECONNECT: Duration = Duration::from_millis(10);
const RECONNECTS: u32 = 100;
/// The longest such pause, for a monitor that goes on refusing.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// How the kernel kills, also for want of memory.
const KILLED: WaitStatus = WaitStatus(SIGKILL);

/// What one watch needs.
pub(super) struct Watch {
    pub(super) guest: Arc<Guest>,
    /// The lxcpaths whose containers may have similar names.
    pub(super) known: Vec<Arc<Path>>,
    pub(super) epoch: Epoch,
    pub(super) sink: Sink,
    /// Knows whom the kernel killed for want of memory.
    pub(super) kernel: Arc<Mutex<KernelLog>>,
    /// It has just been started: how it ended is told, or will be soon.
    pub(super) begun: bool,
    /// How its init ended, if that was told before this watch began.
    pub(super) exit: Option<WaitStatus>,
    /// What the FIFO says about this container.
    pub(super) news: mpsc::Receiver<News>,
    /// Told the monitor's number as soon as it is known, so that a kill can find it.
    pub(super) monitor: tokio::sync::watch::Sender<Option<i32>>,
}

impl Watch {
    /// Watches until nothing is left; the caller reports that.
    pub(super) async fn run(mut self) {
        let spec = spec(&self.guest).clone();
        let socket = Monitor::new(&spec.lxcpath, self.guest.name.as_str());
        if let Some((located, client)) = self.attach(&socket, &spec).await {
            self.monitor.send_replace(located.monitor.as_ref().map(Process::pid));
            self.follow(&socket, located, client).await;
        } else {
            // Nobody listens any more, but its last hooks may still run.
            self.monitor_ends(&spec).await;
            if let Some(status) = self.unseen_end().await {
                self.report(Observation::InitExited(Some(status)));
            }
            self.clear_up(&spec).await;
        }
    }

    /// How its init ended that was never seen: all records are written once its monitor has ended.
    async fn unseen_end(&mut self) -> Option<WaitStatus> {
        let mut exit = self.exit;
        while let Ok(news) = self.news.try_recv() {
            exit = news.exit(exit);
        }
        let until = Instant::now() + if self.begun { LAST_WAIT } else { Duration::ZERO };
        while exit.is_none()
            && let Ok(Some(news)) = timeout_at(until, self.news.recv()).await
        {
            exit = news.exit(exit);
        }
        exit
    }

    /// Removes what its monitor has left, which can be told by its name only.
    async fn clear_up(&self, spec: &LxcSpec) {
        match cgroup::removable(&self.guest, spec).await {
            Ok(cgroups) => tidy(&cgroups),
            Err(error) => {
                let name = &self.guest.name;
                let unit = unit::name(name);
                tracing::warn!(guest = %name, object_systemd_unit = unit, "{name}: its cgroups: {error}");
            }
        }
    }

    /// Finds the monitor and the init, however long the monitor takes to answer, and registers for what comes after that.
    /// None when there are none.
    async fn attach(&self, socket: &Monitor, spec: &LxcSpec) -> Option<(Located, Option<StateClient>)> {
        let mut patience = Some(ANSWER);
        for _ in 0..RECONNECTS {
            let (client, Inits { monitor, init }) = match asked(socket, patience).await {
                Ok(answer) => answer,
                // It took the question along into its end or into a reboot.
                Err(CommandError::Closed) => {
                    sleep(RECONNECT).await;
                    continue;
                }
                // It is stopped, or not yet in a state to answer: then without an init, and worth to wait for.
                Err(CommandError::TimedOut) if patience.take().is_some() => {
                    match locate::by_processes(&self.guest, spec).await {
                        Some(located) => return Some((located, None)),
                        None => continue,
                    }
                }
                Err(CommandError::NotListening | CommandError::Foreign(_)) => {
                    let orphan = locate::orphan(self.known.clone(), &self.guest, spec).await;
                    return orphan.map(|located| (located, None));
                }
                Err(_) => return None,
            };
            let monitor = Process::open(monitor).ok()?;
            match Process::of(init) {
                Ok(init) => return Some((Located { monitor: Some(monitor), init }, client)),
                // Its init is dead already. Either the monitor ends too, or it makes a new one and then answers again.
                Err(_) => monitor_or_next(socket, &monitor).await,
            }
        }
        None
    }

    async fn monitor_ends(&self, spec: &LxcSpec) {
        let found = Found::look(spec.lxcpath.clone(), self.guest.name.clone()).await;
        for monitor in found.monitors.iter().filter_map(|pid| Process::open(*pid).ok()) {
            monitor.ended().await;
        }
    }

    async fn follow(&mut self, socket: &Monitor, located: Located, client: Option<StateClient>) {
        let Located { monitor, mut init } = located;
        let mut run = self.first_sight(&init, monitor.is_some());
        let (sight, mut sights) = mpsc::channel(4);
        let follows = |monitor: &Process| state_client(socket.clone(), monitor.pid(), client, sight);
        let _client = monitor.as_ref().map(follows).map(Task::spawn);
        let mut next = None;
        let mut ground = self.ground(monitor.as_ref(), &init);
        loop {
            let seen = tokio::select! {
                biased;
                Some(news) = self.news.recv() => Seen::of(news),
                () = init.ended(), if run.is_alive() => Some(ground.end(&init)),
                Some(sight) = sights.recv() => self.sighted(sight, &init, &mut next),
                () = ended(monitor.as_ref()), if !run.is_monitor_over() => Some(Seen::MonitorOver),
                () = until(run.deadline()) => Some(Seen::TimeUp(init.exit_by_pidfd())),
            };
            if seen == Some(Seen::MonitorOver) {
                // Its number may be another's soon.
                self.monitor.send_replace(None);
            }
            let reports = seen.map(|seen| run.handle(seen, Instant::now())).unwrap_or_default();
            for report in reports {
                match report {
                    Report::Frozen => self.report(Observation::Frozen),
                    Report::Thawed => self.report(Observation::Thawed),
                    Report::Ended(status) => self.report(self.end_of(&init, status, ground.is_starved())),
                    Report::Next => {
                        if let Some((process, since)) = next.take() {
                            init = process;
                            ground = self.ground(monitor.as_ref(), &init);
                            self.report(Observation::Running(since));
                        }
                    }
                    // A monitor that was killed has left them.
                    Report::Gone => return tidy(&ground.cgroups),
                }
            }
        }
    }

    /// Reports that it runs, and takes in what nobody will tell: that it is frozen, that its monitor is dead.
    fn first_sight(&self, init: &Process, has_monitor: bool) -> Run {
        // An init that died this moment has no start time any more.
        let since = || Init { pid: init.pid(), since: Timestamp::default(), keeper: None };
        self.report(Observation::Running(init.as_init().unwrap_or_else(since)));
        let mut run = Run::new();
        if is_frozen(init.pid()).unwrap_or(false) && !run.handle(Seen::Frozen, Instant::now()).is_empty() {
            self.report(Observation::Frozen);
        }
        if !has_monitor {
            // Reports nothing before its init ends too.
            run.handle(Seen::MonitorOver, Instant::now());
        }
        run
    }

    /// Where it runs now. Who is killed there is counted only where nobody tells whom.
    fn ground(&self, monitor: Option<&Process>, init: &Process) -> Ground {
        let counts = !locked(&self.kernel).is_open();
        Ground::of(monitor, init, self.guest.name.as_str(), counts)
    }

    /// What the end of an init is. The kernel's log is certain of whom it killed; where it cannot be read, `starved` says
    /// that somebody was killed there.
    fn end_of(&self, init: &Process, status: Option<WaitStatus>, starved: bool) -> Observation {
        let is_kill = status.is_none_or(|status| status == KILLED);
        let logged = if is_kill { locked(&self.kernel).has_killed(init.pid(), RECENT) } else { Some(false) };
        if logged.unwrap_or(starved && status.is_some()) {
            Observation::OutOfMemory
        } else {
            Observation::InitExited(status)
        }
    }

    /// Turns what the state client sees into what it means; a new init is kept until its turn.
    fn sighted(&self, sight: Sight, init: &Process, next: &mut Option<(Process, Init)>) -> Option<Seen> {
        match sight {
            // Its cgroup knows better which: it can be frozen, and thawed, without its monitor.
            Sight::State(State::Frozen | State::Running | State::Thawed) => {
                Some(if is_frozen(init.pid()).ok()? { Seen::Frozen } else { Seen::Thawed })
            }
            Sight::State(_) => None,
            Sight::Init(process) if process.pid() == init.pid() => None,
            Sight::Init(process) => {
                let since = process.as_init()?;
                *next = Some((process, since));
                Some(Seen::Next)
            }
        }
    }

    fn report(&self, what: Observation) {
        let observed = Observed { guest: self.guest.name.clone(), epoch: Some(self.epoch), what };
        // Nobody listens any more when the daemon goes down.
        let _ = self.sink.send(observed);
    }
}

/// Waits for a moment, or for ever.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Registers, and then asks for the inits: so nothing falls in between. With or without a limit.
async fn asked(
    socket: &Monitor,
    patience: Option<Duration>,
) -> Result<(Option<StateClient>, Inits), CommandError> {
    let ask = async {
        let client = socket.register().await;
        // Whoever is not registered tries again later; that nobody listens is told by the question as well.
        socket.inits().await.map(|inits| (client.ok(), inits))
    };
    match patience {
        Some(patience) => timeout(patience, ask).await.unwrap_or(Err(CommandError::TimedOut)),
        None => ask.await,
    }
}

/// Waits until a monitor whose init is dead has ended, or has another one.
async fn monitor_or_next(socket: &Monitor, monitor: &Process) {
    let next = async {
        loop {
            match socket.register().await {
                Ok(client) => {
                    // It may have one by now, of which no change would tell.
                    let has_one = socket.inits().await.is_ok_and(|inits| Process::of(inits.init).is_ok());
                    if has_one || client.changed().await {
                        return;
                    }
                }
                Err(CommandError::NotListening | CommandError::Foreign(_)) => return pending().await,
                // It drops those whom it has not answered when it reboots.
                Err(_) => {}
            }
            sleep(RECONNECT).await;
        }
    };
    tokio::select! {
        () = monitor.ended() => {}
        () = next => {}
    }
}

/// What the state client sees.
enum Sight {
    State(State),
    Init(Process),
}

/// Follows a monitor's states until its socket is gone or belongs to another monitor. A monitor that reboots its
/// container drops the connections that it has not yet answered, so every other failure is tried again. What was seen after
/// the `first` registration is known.
async fn state_client(
    socket: Monitor,
    monitor: i32,
    first: Option<StateClient>,
    sights: mpsc::Sender<Sight>,
) {
    if let Some(first) = first
        && !first.changed().await
    {
        sleep(RECONNECT).await;
    }
    let mut pause = RECONNECT;
    loop {
        match look_and_wait(&socket, monitor, &sights).await {
            Err(CommandError::NotListening | CommandError::Foreign(_)) | Ok(Next::Over) => return,
            Ok(Next::Look) => pause = RECONNECT,
            Err(_) | Ok(Next::Reconnect) => {
                sleep(pause).await;
                pause = (pause * 2).min(RECONNECT_MAX);
            }
        }
    }
}

enum Next {
    Over,
    Look,
    Reconnect,
}

/// Registers, looks, and waits for a change. Looking after the registration covers what happened before it. Who is told
/// aborts this task before it stops listening, so sending cannot fail.
async fn look_and_wait(
    socket: &Monitor,
    monitor: i32,
    sights: &mpsc::Sender<Sight>,
) -> Result<Next, CommandError> {
    let client = socket.register().await?;
    let state = socket.state().await?;
    let inits = socket.inits().await?;
    if inits.monitor != monitor {
        return Ok(Next::Over);
    }
    if let (State::Running | State::Frozen, Ok(init)) = (state, Process::of(inits.init)) {
        let _ = sights.send(Sight::Init(init)).await;
    }
    let _ = sights.send(Sight::State(state)).await;
    // What it changed into is looked at: a message can be older than the look before it.
    Ok(if client.changed().await { Next::Look } else { Next::Reconnect })
}
