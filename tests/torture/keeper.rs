//! Keeps a guestd running, as its service manager would: whenever it dies, it is started again. Who killed it is noted.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use guestd::kill_point::{KillPoint, MARKER, VARIABLE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::host::Host;

/// How often a daemon is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Whoever keeps the daemon of a host running, until it is dropped.
pub struct Keeper {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// Whoever kills it.
pub struct Killer(Arc<Shared>);

struct Shared {
    host: Arc<Host>,
    /// Nobody else waits for it, so that its number stays its own for as long as it is here.
    child: Mutex<Option<Child>>,
    /// Where it is still to be killed, and at which time that it passes there.
    armed: Mutex<Vec<(KillPoint, u64)>>,
    ends: Mutex<Ends>,
    is_paused: AtomicBool,
    is_over: AtomicBool,
}

/// How daemons have ended so far.
#[derive(Debug, Default, Clone)]
pub struct Ends {
    /// At these points, in order.
    pub hit: Vec<KillPoint>,
    /// So many were killed from outside.
    pub outside: usize,
    /// What was not meant to happen.
    pub odd: Vec<String>,
}

impl Ends {
    /// So many were killed in all.
    pub fn kills(&self) -> usize {
        self.hit.len() + self.outside
    }
}

impl Keeper {
    /// Starts a daemon that dies at the first of these points that it comes to; the next one at the first of the others,
    /// and so on.
    pub fn start(host: Arc<Host>, armed: Vec<(KillPoint, u64)>) -> Self {
        let shared = Arc::new(Shared {
            host,
            child: Mutex::default(),
            armed: Mutex::new(armed),
            ends: Mutex::default(),
            is_paused: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let of_task = shared.clone();
        Self { shared, task: Some(thread::spawn(move || of_task.keep())) }
    }

    /// How daemons have ended so far.
    pub fn ends(&self) -> Ends {
        locked(&self.shared.ends).clone()
    }

    /// Where no daemon was killed yet that is to be.
    pub fn armed(&self) -> Vec<(KillPoint, u64)> {
        locked(&self.shared.armed).clone()
    }

    /// Somebody who may kill the daemon.
    pub fn killer(&self) -> Killer {
        Killer(self.shared.clone())
    }

    /// Kills the daemon, and starts no other one until the time comes.
    pub fn pause(&self) {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        let child = locked(&self.shared.child);
        if child.is_some() {
            self.shared.signal(&child);
        }
        drop(child);
        while locked(&self.shared.child).is_some() {
            thread::sleep(LOOK);
        }
    }

    /// The time has come.
    pub fn go_on(&self) {
        self.shared.is_paused.store(false, Ordering::SeqCst);
    }

    /// Ends the daemon for good; how all of them ended.
    pub fn finish(mut self) -> Ends {
        self.end();
        self.ends()
    }

    fn end(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.take() {
            // It has noted what went wrong.
            let _ = task.join();
        }
    }
}

impl Killer {
    /// Kills the daemon, if one runs and is not to be left alone.
    pub fn kill(&self) -> bool {
        let child = locked(&self.0.child);
        !self.0.is_paused.load(Ordering::SeqCst) && self.0.signal(&child)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn keep(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.is_paused.load(Ordering::SeqCst) {
                thread::sleep(LOOK);
                continue;
            }
            let told = self.host.log().len();
            let name = |(point, times): &(KillPoint, u64)| format!("{}:{times}", point.name());
            let armed: Vec<String> = locked(&self.armed).iter().map(name).collect();
            let daemon = self.host.daemon_command().env(VARIABLE, armed.join(",")).spawn().expect("guestd");
            *locked(&self.child) = Some(daemon);
            let (status, is_ours) = self.ended();
            self.note(status, is_ours, told);
        }
    }

    /// Waits for its end, and brings it about where all is over; whether that was so.
    fn ended(&self) -> (ExitStatus, bool) {
        let mut is_ours = false;
        loop {
            let mut child = locked(&self.child);
            let daemon = child.as_mut().expect("it was started");
            if let Some(status) = daemon.try_wait().expect("a look") {
                *child = None;
                return (status, is_ours);
            }
            if self.is_over.load(Ordering::SeqCst) && !is_ours {
                let _ = kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM);
                is_ours = true;
            }
            drop(child);
            thread::sleep(LOOK);
        }
    }

    fn note(&self, status: ExitStatus, is_ours: bool, told: usize) {
        let log = fs::read(self.host.at("log")).unwrap_or_default();
        let said = String::from_utf8_lossy(log.get(told..).unwrap_or_default()).into_owned();
        let point = said.lines().find_map(|line| line.strip_prefix(MARKER));
        let point = point.and_then(|name| KillPoint::ALL.iter().copied().find(|point| point.name() == name));
        let mut ends = locked(&self.ends);
        match (status.signal(), point) {
            (Some(9), Some(point)) => {
                locked(&self.armed).retain(|(armed, _)| *armed != point);
                ends.hit.push(point);
            }
            // From outside: counted by whoever did it.
            (Some(9), None) => {}
            _ if is_ours && status.success() => {}
            _ => ends.odd.push(format!("{status}: {said}")),
        }
    }

    fn signal(&self, child: &Option<Child>) -> bool {
        let pid = child.as_ref().map(|daemon| Pid::from_raw(daemon.id().cast_signed()));
        let killed = pid.is_some_and(|pid| kill(pid, Signal::SIGKILL).is_ok());
        locked(&self.ends).outside += usize::from(killed);
        killed
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody has panicked with it")
}
