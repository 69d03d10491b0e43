//! A daemon that knows helper requests only: the real server, and a thread that plays the manager.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use guestd::{
    daemon::handle::{self, Handle},
    helper::{
        server::{self, Facts, SOCKET_NAME},
        wire::{Answer, Decision},
    },
    model::GuestName,
};
use tempfile::TempDir;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot, watch,
};

use crate::name;

/// What the played manager answers: the guest's name is the answer. A guest named `hang` gets none, and one named
/// `slow` after three seconds, in which progress is reported.
fn play(guest: &str) -> Option<Answer> {
    let (decision, anew) = match guest {
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
        (id == 7).then(|| name("restart"))
    }

    fn progress(&self, guest: &GuestName) -> Option<String> {
        (guest.as_str() == "slow").then(|| "running /etc/slow".into())
    }
}

/// Plays the manager.
async fn manage(mut asked: UnboundedReceiver<handle::Command>) {
    let mut unanswered = Vec::new();
    while let Some(command) = asked.recv().await {
        let handle::Command::Helper { request, reply } = command else { panic!("{command:?}") };
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
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    /// Starts it; it listens when this returns.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(SOCKET_NAME);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (commands, asked) = unbounded_channel();
                let handle = Handle::new(commands, watch::channel(Arc::default()).1);
                let listener = server::bind(&socket).unwrap();
                tokio::spawn(server::serve(listener, handle, Arc::new(PlayedFacts)));
                tokio::spawn(manage(asked));
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        is_ready.recv().unwrap();
        Self { dir, stop: Some(stop), thread: Some(thread) }
    }

    /// Its runtime directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
