//! Asking for a password on the terminal: polkit's text agent, for the time of one program.

use std::{
    io::IsTerminal,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid, pipe2},
};

/// How long the agent may take to register, in milliseconds. Without it the request is simply refused.
const REGISTRATION: u16 = 5_000;

/// A running `pkttyagent`; it is ended when this is dropped.
#[derive(Debug)]
pub struct Agent(Child);

/// Whether somebody is there to be asked: not root, and at a terminal.
pub fn is_wanted() -> bool {
    !geteuid().is_root() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Whether logind knows the caller's session. Its own agent, a graphical one perhaps, is preferred then; outside of a
/// session polkit uses no fallback at all.
fn has_session() -> bool {
    std::env::var_os("XDG_SESSION_ID").is_some_and(|id| !id.is_empty())
}

impl Agent {
    /// Starts the agent and waits until it is registered. None when there is no such program or it does not work:
    /// then polkit decides without asking.
    pub fn start() -> Option<Self> {
        let (registered, report) = pipe2(OFlag::O_CLOEXEC).ok()?;
        // Only this end is inherited; the agent closes it when it is registered.
        fcntl(&report, FcntlArg::F_SETFD(FdFlag::empty())).ok()?;
        let agent = Command::new("pkttyagent")
            .arg("--notify-fd")
            .arg(report.as_raw_fd().to_string())
            .args(has_session().then_some("--fallback"))
            .stdout(Stdio::null())
            // It asks on the terminal itself; that there is no polkit is told by the refusal.
            .stderr(Stdio::null())
            .spawn()
            .ok()
            .map(Self)?;
        drop(report);
        let mut wait = [PollFd::new(std::os::fd::AsFd::as_fd(&registered), PollFlags::POLLIN)];
        // Whatever comes of it, the request is made: without an agent polkit refuses, and says why.
        let _ = poll(&mut wait, PollTimeout::from(REGISTRATION));
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.0.id()) {
            // It restores the terminal on SIGTERM. It may have ended by itself, which is as good.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}
