//! The containers that run, as far as is known: who watches each, and what is told of those that nobody watches yet.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tokio::sync::{mpsc, watch as channel};

use super::{
    Key, Lxc, key, locked,
    record::{News, State},
    socket::{self, Address},
    spec,
    task::Task,
    watch::Watch,
};
use crate::{
    engine::{Epoch, Observation, Observed},
    model::{Guest, GuestName, LxcSpec, WaitStatus},
};

/// How many news a watch may be behind; a guest has no way to write more than a few.
const NEWS_MAX: usize = 64;

/// A container that runs, as far as is known.
pub(super) enum OwnRun {
    /// Nobody watches it yet.
    Unwatched {
        /// Who starts it, where this daemon does: news of it are no surprise.
        starter: Option<mpsc::UnboundedSender<State>>,
        /// How its init ended, if a record said so already.
        exit: Option<WaitStatus>,
        /// A look has told that. A watch that is about to begin tells it too.
        told: bool,
    },
    /// News of it go to its watch.
    Watched { epoch: Epoch, news: mpsc::Sender<News>, monitor: channel::Receiver<Option<i32>>, _task: Task },
}

impl OwnRun {
    fn unwatched(starter: Option<mpsc::UnboundedSender<State>>) -> Self {
        Self::Unwatched { starter, exit: None, told: false }
    }
}

/// A start of ours is under way, so news of it are no surprise. They stay expected once it came true.
pub(super) struct Expected<'a> {
    lxc: &'a Lxc,
    key: Option<Key>,
    /// The states that are told of it.
    pub(super) states: mpsc::UnboundedReceiver<State>,
}

impl Expected<'_> {
    pub(super) fn came_true(mut self) {
        self.key = None;
    }

    /// Whoever says so clears up.
    pub(super) fn failed(mut self) {
        self.key.take().into_iter().for_each(|key| self.lxc.forget(&key));
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        // The start was interrupted.
        if let Some(key) = self.key.take() {
            self.lxc.forget(&key);
            locked(&self.lxc.interrupted).insert(key);
        }
    }
}

impl Lxc {
    pub(super) fn expect(&self, spec: &LxcSpec, guest: &Guest) -> Expected<'_> {
        let key = key(spec, guest);
        let (starter, states) = mpsc::unbounded_channel();
        locked(&self.interrupted).remove(&key);
        locked(&self.met).insert(key.clone());
        let mut runs = locked(&self.runs);
        if !matches!(runs.get(&key), Some(OwnRun::Watched { .. })) {
            runs.insert(key.clone(), OwnRun::unwatched(Some(starter)));
        }
        drop(runs);
        Expected { lxc: self, key: Some(key), states }
    }

    /// A start is over before anybody watched it.
    pub(super) fn forget(&self, key: &Key) {
        let mut runs = locked(&self.runs);
        if let Some(OwnRun::Unwatched { .. }) = runs.get(key) {
            runs.remove(key);
        }
    }

    pub(super) fn is_watched(&self, spec: &LxcSpec, guest: &Guest) -> bool {
        matches!(locked(&self.runs).get(&key(spec, guest)), Some(OwnRun::Watched { .. }))
    }

    pub(super) fn paths(&self) -> Vec<Arc<Path>> {
        locked(&self.readers).keys().cloned().collect()
    }

    /// The monitor of a watched container.
    pub(super) fn watched_monitor(&self, spec: &LxcSpec, guest: &Guest) -> Option<i32> {
        match locked(&self.runs).get(&key(spec, guest)) {
            Some(OwnRun::Watched { monitor, .. }) => *monitor.borrow(),
            Some(OwnRun::Unwatched { .. }) | None => None,
        }
    }

    pub(super) fn deliver(&self, lxcpath: &Path, guest: &GuestName, news: News) {
        let key = (lxcpath.into(), guest.clone());
        let mut runs = locked(&self.runs);
        let begins = matches!(news, News::State(State::Starting | State::Running));
        let appears = match runs.get_mut(&key) {
            Some(OwnRun::Watched { news: watch, .. }) => {
                watch
                    .try_send(news)
                    .unwrap_or_else(|error| tracing::debug!("guest {guest}: news were lost: {error}"));
                false
            }
            Some(OwnRun::Unwatched { starter, exit, told }) => {
                *exit = news.exit(*exit);
                *told &= exit.is_some();
                if let (Some(starter), News::State(state)) = (&starter, news) {
                    // It may have seen what it waited for.
                    let _ = starter.send(state);
                }
                starter.is_none() && (begins || matches!(news, News::Exit(_)))
            }
            // The first look at it, or its first watch, is still to come, and must know this.
            None if matches!(news, News::Exit(_)) && !locked(&self.met).contains(&key) => {
                drop(runs);
                return self.catch_up(&key.0, guest.clone(), news);
            }
            None => begins,
        };
        if appears {
            runs.entry(key).or_insert(OwnRun::unwatched(None));
            // Nobody listens any more when the daemon goes down.
            let _ =
                self.sink.send(Observed { guest: guest.clone(), epoch: None, what: Observation::Appeared });
        }
    }

    /// Takes in what was told while no daemon was there; a look will tell it.
    pub(super) fn catch_up(&self, lxcpath: &Arc<Path>, guest: GuestName, news: News) {
        let mut runs = locked(&self.runs);
        let run = runs.entry((lxcpath.clone(), guest)).or_insert(OwnRun::unwatched(None));
        if let OwnRun::Unwatched { exit, .. } = run {
            *exit = news.exit(*exit);
        }
    }

    /// News were lost: tells of every container that runs there and is not known to.
    pub(super) fn look_around(&self, lxcpath: &Path) {
        let listening = socket::listeners().unwrap_or_default();
        let running = listening.iter().filter_map(|listener| match socket::container(&listener.name)? {
            Address::Named(name) => GuestName::new(std::str::from_utf8(name).ok()?).ok(),
            Address::Hashed => None,
        });
        let addresses: BTreeSet<&[u8]> = listening.iter().map(|listener| &*listener.name).collect();
        for guest in running {
            if addresses.contains(&*socket::command(lxcpath, guest.as_str())) {
                self.deliver(lxcpath, &guest, News::State(State::Running));
            }
        }
    }

    /// How a container ended that nobody watched; told once.
    pub(super) fn unwatched_end(&self, spec: &LxcSpec, guest: &Guest) -> Option<WaitStatus> {
        match locked(&self.runs).get_mut(&key(spec, guest))? {
            OwnRun::Unwatched { starter: None, exit, told } => {
                let is_new = !*told;
                *told = exit.is_some();
                exit.filter(|_| is_new)
            }
            _ => None,
        }
    }

    pub(super) fn watch(this: &Arc<Self>, guest: Arc<Guest>, epoch: Epoch) {
        let key = key(spec(&guest), &guest);
        locked(&this.met).insert(key.clone());
        let mut runs = locked(&this.runs);
        let (begun, exit) = match runs.get(&key) {
            Some(OwnRun::Unwatched { exit, .. }) => (true, *exit),
            Some(OwnRun::Watched { .. }) | None => (false, None),
        };
        let (news, news_of_it) = mpsc::channel(NEWS_MAX);
        let (told, monitor) = channel::channel(None);
        let watch = Watch {
            guest,
            known: this.paths(),
            epoch,
            sink: this.sink.clone(),
            kernel: this.kernel.clone(),
            begun,
            exit,
            news: news_of_it,
            monitor: told,
        };
        let (lxc, end) = (Arc::downgrade(this), key.clone());
        let task = Task::spawn(async move {
            watch.run().await;
            if let Some(lxc) = lxc.upgrade() {
                // Forgotten first: whoever starts it from now on is somebody else.
                lxc.over(&end, epoch);
            }
        });
        this.console.iter().for_each(|console| console.watched(&key.1));
        runs.insert(key, OwnRun::Watched { epoch, news, monitor, _task: task });
    }

    fn over(&self, key: &Key, epoch: Epoch) {
        let mut runs = locked(&self.runs);
        let is_it =
            matches!(runs.get(key), Some(OwnRun::Watched { epoch: current, .. }) if *current == epoch);
        // Its task is this one: dropped, it is aborted at a next waiting point, of which there is none.
        let ended = if is_it { runs.remove(key) } else { None };
        drop(runs);
        self.console.iter().filter(|_| ended.is_some()).for_each(|console| console.over(&key.1));
        let _ =
            self.sink.send(Observed { guest: key.1.clone(), epoch: Some(epoch), what: Observation::Gone });
        drop(ended);
    }
}
