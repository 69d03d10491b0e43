//! A daemon that knows helper requests only: the real server, and a thread that plays the manager.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use guestd::{
    daemon::handle::{self, Handle},
    helper::{
        server::{self, Facts, SOCKET_NAME},
        wire::{Answer, Decision, Event},
    },
    model::GuestName,
};
use tempfile::TempDir;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot, watch,
};

/// What it was asked, in order.
type Requests = Arc<Mutex<Vec<(GuestName, Event)>>>;

/// What the played manager answers: the guest's name is the answer, with any number behind it. A guest named `hang` gets none, and one named
/// `slow` after three seconds, in which progress is reported.
fn play(guest: &str) -> Option<Answer> {
    let (decision, anew) = match guest.trim_end_matches(|c: char| c == 'x' || c.is_ascii_digit()) {
        "restart" | "slow" => (Decision::Restart, false),
        "stop" => (Decision::Stop, false),
        "anew" => (Decision::Restart, true),
        "hang" => return None,
        _ => (Decision::Ignore, false),
    };
    Some(Answer { decision, reason: "as played".into(), anew })
}

struct PlayedFacts;

impl Facts for PlayedFacts {
    fn guest_of(&self, id: u32) -> Option<GuestName> {
        (id == 7).then(|| GuestName::new("restart").unwrap())
    }

    fn progress(&self, guest: &GuestName) -> Option<String> {
        (guest.as_str() == "slow").then(|| "running /etc/slow".into())
    }
}

/// Plays the manager.
async fn manage(mut asked: UnboundedReceiver<handle::Command>, requests: Requests) {
    let mut unanswered = Vec::new();
    while let Some(command) = asked.recv().await {
        let handle::Command::Helper { request, reply } = command else { panic!("{command:?}") };
        requests.lock().unwrap().push((request.guest.clone(), request.event));
        let Some(answer) = play(request.guest.as_str()) else {
            unanswered.push(reply);
            continue;
        };
        let takes = Duration::from_secs(if request.guest.as_str() == "slow" { 3 } else { 0 });
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            reply.send(answer).unwrap();
        });
    }
}

/// A daemon that knows helper requests only, in a thread of its own.
pub struct Daemon {
    dir: PathBuf,
    own: Option<TempDir>,
    requests: Requests,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    /// Starts it in a runtime directory of its own; it listens when this returns.
    pub fn start() -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut daemon = Self::at(own.path());
        daemon.own = Some(own);
        daemon
    }

    /// Starts it in a runtime directory that is there.
    pub fn at(dir: &Path) -> Self {
        let socket = dir.join(SOCKET_NAME);
        let requests = Requests::default();
        let heard = requests.clone();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (commands, asked) = unbounded_channel();
                let handle = Handle::new(commands, watch::channel(Arc::default()).1);
                let listener = server::bind(&socket).unwrap();
                tokio::spawn(server::serve(listener, handle, Arc::new(PlayedFacts)));
                tokio::spawn(manage(asked, heard));
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        is_ready.recv().unwrap();
        Self { dir: dir.to_owned(), own: None, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// Its runtime directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it was asked about a guest since this was last asked for.
    pub fn asked(&self, guest: &GuestName) -> Vec<Event> {
        let mut requests = self.requests.lock().unwrap();
        let asked = requests.iter().filter(|(name, _)| name == guest).map(|(_, event)| *event).collect();
        requests.retain(|(name, _)| name != guest);
        asked
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(self.own.take());
    }
}
