//! What guests write on their consoles, told line by line in the journal.
//!
//! LXC writes it into a file for each guest, which it bounds and rotates itself: so nothing here can hold up LXC, or a
//! guest. The files are followed by one inotify watch, a little at a time. Where that was left off lies beside them, so
//! that the next daemon goes on there.

mod follower;
mod pace;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use inotify::{EventMask, Inotify, WatchMask};
use tokio::{
    io::unix::AsyncFd,
    task::yield_now,
    time::{Instant, sleep},
};

use self::follower::Follower;
use super::{locked, socket, task::Task, watch::until};
use crate::{engine::tail, model::GuestName};

/// Where the files lie, below the runtime directory, and how their names end.
const CONSOLE: &str = "console";
const LOG: &str = ".log";
/// Where the places lie, below that: what is written there is not watched.
const FOLDER: &str = "told";
/// How long a file of LXC becomes, a power of two: there are two for each guest.
const SIZE: u64 = 64 * 1024;
/// How much is read at once.
const PIECE: usize = 16 * 1024;
/// At most so often something is read, and so many pieces and about so many lines then, of all guests together.
const PAUSE: Duration = Duration::from_millis(50);
const PIECES: usize = 32;
const LINES: usize = 256;
/// Room for a hundred events or more.
const EVENTS: usize = 16 * 1024;

/// Follows the consoles of all guests until it is dropped.
pub(super) struct Console {
    shared: Arc<Shared>,
    _task: Task,
}

/// What the task and the rest of the engine share.
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: HashMap<GuestName, Follower>,
    /// Those of whom a new run has begun, while the watch of an earlier one may still be at its end.
    begun: HashSet<GuestName>,
}

fn log(folder: &Path, guest: &GuestName) -> PathBuf {
    folder.join(format!("{guest}{LOG}"))
}

/// The last lines that a guest that runs has written on its console, oldest first, escaped. None where its console is not
/// followed: it has one of its own, or others have started it.
pub fn last_lines(runtime_dir: &Path, guest: &GuestName) -> Vec<String> {
    tail::last_lines(&log(&runtime_dir.join(CONSOLE), guest))
}

/// The guest whose file this is; none for other files, also for those that LXC has rotated away.
fn guest_of(file: &std::ffi::OsStr) -> Option<GuestName> {
    GuestName::new(file.to_str()?.strip_suffix(LOG)?).ok()
}

impl Console {
    /// Begins to follow what guests write below the runtime directory; first what those wrote that have ended while no
    /// daemon was there. Guests run in `lxcpaths`. None where that is not possible. Needs a running Tokio runtime.
    pub(super) fn new(runtime_dir: &Path, lxcpaths: Vec<Arc<Path>>) -> Option<Self> {
        let following = Self::following(runtime_dir, lxcpaths);
        following.inspect_err(|error| tracing::warn!("consoles of guests cannot be followed: {error}")).ok()
    }

    fn following(runtime_dir: &Path, lxcpaths: Vec<Arc<Path>>) -> io::Result<Self> {
        // LXC opens the files from another working directory.
        let folder = std::path::absolute(runtime_dir)?.join(CONSOLE);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(FOLDER))?;
        let inotify = Inotify::init()?;
        inotify.watches().add(&folder, WatchMask::MODIFY | WatchMask::ONLYDIR)?;
        // SAFETY: the descriptor belongs to `inotify`, which moves into the `AsyncFd`, is never replaced in it, and
        // lives exactly as long.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        let shared = Arc::new(Shared { folder, state: Mutex::default() });
        let task = Task::spawn(follow(shared.clone(), inotify, lxcpaths));
        Ok(Self { shared, _task: task })
    }

    /// A guest is about to be started: the arguments by which `lxc-start` has its console written where it is read. None
    /// where the folder is gone, without which LXC would not start it.
    pub(super) fn begins(&self, guest: &GuestName) -> Vec<OsString> {
        let path = log(&self.shared.folder, guest);
        if !self.shared.folder.is_dir() {
            tracing::warn!("{} is gone: consoles are not told any more", self.shared.folder.display());
            return Vec::new();
        }
        self.shared.begins(guest);
        let mut line = OsString::from("lxc.console.logfile = ");
        line.push(path);
        let size = format!("lxc.console.size = {SIZE}").into();
        let settings = [line, size, "lxc.console.rotate = 1".into()];
        settings.into_iter().flat_map(|setting| ["-s".into(), setting]).collect()
    }

    /// The run that has begun is watched from now on.
    pub(super) fn watched(&self, guest: &GuestName) {
        locked(&self.shared.state).begun.remove(guest);
    }

    /// A run that was watched is over: tells its last lines and removes its files, unless another one has begun.
    pub(super) fn over(&self, guest: &GuestName) {
        self.shared.over(guest);
    }

    /// Nothing of a guest is left, nor of a run that had begun.
    pub(super) fn ended(&self, guest: &GuestName) {
        self.watched(guest);
        self.over(guest);
    }
}

impl Shared {
    fn begins(&self, guest: &GuestName) {
        let mut state = locked(&self.state);
        state.begun.insert(guest.clone());
        // Of an earlier run: LXC goes on with its files, with a line of its own.
        if let Some(follower) = state.follower(&self.folder, guest, Instant::now()) {
            follower.flush_all(&mut vec![0; PIECE], Instant::now());
        }
    }

    fn over(&self, guest: &GuestName) {
        let now = Instant::now();
        let mut state = locked(&self.state);
        if state.begun.contains(guest) || state.follower(&self.folder, guest, now).is_none() {
            return;
        }
        if let Some(mut follower) = state.followers.remove(guest) {
            follower.flush_all(&mut vec![0; PIECE], now);
            follower.report();
            follower.remove();
        }
    }

    /// Ends what no longer runs; what does is left.
    async fn clear_up(&self, guests: &mut VecDeque<GuestName>, lxcpaths: &[Arc<Path>]) {
        if guests.is_empty() {
            return;
        }
        // LXC's socket is there before its file is.
        let running = lxcpaths.iter().map(|lxcpath| socket::running(lxcpath, &*guests));
        let Ok(running) = running.collect::<io::Result<Vec<_>>>() else { return };
        let runs = |guest: &GuestName| running.iter().any(|running| running.contains(guest));
        let (left, over): (_, VecDeque<_>) = guests.drain(..).partition(runs);
        *guests = left;
        for guest in over {
            self.over(&guest);
            yield_now().await;
        }
    }

    /// The guests that have files.
    fn found(&self) -> impl Iterator<Item = GuestName> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| guest_of(&entry.file_name()))
    }

    /// Takes in who has written since the last call.
    fn noticed(&self, inotify: &mut AsyncFd<Inotify>, waiting: &mut VecDeque<GuestName>) {
        let mut buffer = [0; EVENTS];
        let mut is_new = |guest: GuestName| {
            if !waiting.contains(&guest) {
                waiting.push_back(guest);
            }
        };
        while let Ok(events) = inotify.get_mut().read_events(&mut buffer) {
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.found().for_each(&mut is_new);
                }
                event.name.and_then(guest_of).into_iter().for_each(&mut is_new);
            }
        }
    }

    /// Reads a piece of each in turn, until all is read or enough for now.
    async fn turn(&self, waiting: &mut VecDeque<GuestName>, buffer: &mut [u8]) {
        let mut told = 0;
        for _ in 0..PIECES {
            let Some(guest) = waiting.pop_front() else { break };
            let piece = {
                let now = Instant::now();
                let mut state = locked(&self.state);
                state.follower(&self.folder, &guest, now).map(|follower| follower.read(buffer, now))
            };
            let Some(piece) = piece else { continue };
            if piece.more {
                waiting.push_back(guest);
            }
            told += piece.told;
            if told >= LINES {
                break;
            }
            yield_now().await;
        }
        let now = Instant::now();
        locked(&self.state).followers.values_mut().for_each(|follower| follower.overdue(now));
    }

    /// When something is to be told although nothing is written.
    fn due(&self) -> Option<Instant> {
        locked(&self.state).followers.values().filter_map(Follower::due).min()
    }
}

impl State {
    /// Who follows a guest; none where it has no file.
    fn follower(&mut self, folder: &Path, guest: &GuestName, now: Instant) -> Option<&mut Follower> {
        if !self.followers.contains_key(guest) {
            self.followers.insert(guest.clone(), Follower::open(folder, guest, now)?);
        }
        self.followers.get_mut(guest)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        locked(&self.state).followers.values_mut().for_each(Follower::report);
    }
}

async fn follow(shared: Arc<Shared>, mut inotify: AsyncFd<Inotify>, lxcpaths: Vec<Arc<Path>>) {
    let mut waiting = shared.found().collect();
    shared.clear_up(&mut waiting, &lxcpaths).await;
    let mut buffer = vec![0; PIECE];
    loop {
        if waiting.is_empty() {
            tokio::select! {
                () = written(&inotify) => {}
                () = until(shared.due()) => {}
            }
        }
        sleep(PAUSE).await;
        shared.noticed(&mut inotify, &mut waiting);
        shared.turn(&mut waiting, &mut buffer).await;
    }
}

async fn written(inotify: &AsyncFd<Inotify>) {
    match inotify.readable().await {
        Ok(mut guard) => guard.clear_ready(),
        // The runtime is ending; there is nothing to wait for any more.
        Err(_) => std::future::pending().await,
    }
}
