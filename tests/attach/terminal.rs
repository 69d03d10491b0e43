//! A person at a terminal: a client on a pseudo-terminal of its own, what it shows, and what is typed.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcgetattr, tcsetwinsize},
};

use super::host::{Host, wait_for};

/// A client on a terminal.
pub struct Terminal {
    master: File,
    /// Its other end, kept open so that nothing that is printed is lost.
    slave: OwnedFd,
    client: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// What was waited for already.
    seen: usize,
}

impl Terminal {
    /// Runs `guestctl` on a terminal with 30 lines and 90 columns.
    pub fn guestctl(host: &Host, arguments: &[&str]) -> Self {
        let mut command = host.command("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_guestctl")]).args(arguments);
        Self::run(command)
    }

    /// Runs a command there.
    pub fn run(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let open = || ioctl_tiocgptpeer(&master, flags).expect("its other end");
        set_size(&master, (30, 90));
        command.stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
        command.env("TERM", "xterm-256color");
        let client = command.spawn().expect("a client");
        let slave = open();
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reading, sink) = (master.try_clone().expect("a copy"), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reading.read(&mut buffer) {
                // LXC lets both terminals, the guest's and this one, put one before each end of a line.
                let shown = buffer[..length].iter().filter(|byte| **byte != b'\r');
                sink.lock().expect("a lock").extend(shown);
            }
        });
        Self { master, slave, client, shown, seen: 0 }
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("it can be typed");
    }

    /// Everything it has shown, without carriage returns.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("a lock")).into_owned()
    }

    /// Waits until it shows this, behind what was waited for before.
    pub fn until(&mut self, text: &str) {
        let at = wait_for(text, || {
            let shown = self.shown.lock().expect("a lock");
            let at = shown[self.seen..].windows(text.len()).position(|part| part == text.as_bytes());
            at.map(|at| self.seen + at + text.len())
        });
        self.seen = at;
    }

    /// Gives it another size: lines and columns.
    pub fn resize(&self, size: (u16, u16)) {
        set_size(&self.master, size);
    }

    /// Whether what is typed is shown at once, as usual: not while it is passed on to a guest.
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("its modes").local_modes;
        modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// Kills the client.
    pub fn kill(&mut self) {
        let pid = self.client.id().to_string();
        // What leads the session of the terminal runs it.
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for pid in children.split_whitespace().chain([&*pid]) {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = self.client.wait();
    }

    /// Waits for the end of the client.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the client's end", || self.client.try_wait().expect("a look"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- shown on the terminal ---\n{}", self.shown());
        }
    }
}

fn set_size(master: &impl std::os::fd::AsFd, (ws_row, ws_col): (u16, u16)) {
    tcsetwinsize(master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
}
