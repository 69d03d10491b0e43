//! A program that a person runs in a guest: it has the person's terminal or streams, and lasts as long as he likes. What
//! runs it (`guestctl unit-session`) makes a session of it, and ends all of that on SIGTERM. Here as a child of the daemon.

use std::{
    io,
    os::fd::OwnedFd,
    process::ExitStatus,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{process::Command, sync::oneshot};

use super::{Program, direct::bare};

/// A session to run.
#[derive(Debug)]
pub struct Session {
    /// What runs it. Its time has no limit.
    pub program: Program,
    /// What it reads, where it prints, and where its errors go.
    pub stdio: [OwnedFd; 3],
    /// Told once it runs.
    pub begun: oneshot::Sender<()>,
}

/// Runs a session as a child that leaves the daemon's process group by itself.
pub(super) async fn run(session: Session, let_go: &AtomicBool) -> io::Result<ExitStatus> {
    let Session { program, stdio: [stdin, stdout, stderr], begun } = session;
    let mut command = bare(&program)?;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let mut command = Command::from(command);
    let mut child = command.spawn()?;
    // It has copies of the person's ends.
    drop(command);
    let running = Running { leader: child.id(), let_go };
    // Nobody may wait for that.
    let _ = begun.send(());
    let status = child.wait().await;
    running.spare();
    status
}

/// A session that has not been waited for: ended when this is dropped before it is over, unless the daemon ends.
struct Running<'a> {
    leader: Option<u32>,
    let_go: &'a AtomicBool,
}

impl Running<'_> {
    fn spare(mut self) {
        self.leader = None;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.filter(|_| !self.let_go.load(Ordering::Relaxed)) {
            // It may have ended in this moment: then there is nothing to end.
            let _ = kill(Pid::from_raw(leader.cast_signed()), Signal::SIGTERM);
        }
    }
}
