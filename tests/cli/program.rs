//! The programs under test, on a bus of their own.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The time that anything in these tests may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A `dbus-daemon` of our own; it ends with this.
pub struct PrivateBus {
    _daemon: Child,
    _folder: TempDir,
    pub address: String,
}

impl PrivateBus {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"])
            .arg(format!("--address=unix:dir={}", folder.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("dbus-daemon is installed");
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let address = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        Self { _daemon: daemon, _folder: folder, address }
    }

    /// A program of the project, to be run on this bus.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = match program {
            "autostart" => env!("CARGO_BIN_EXE_autostart"),
            "guestctl" => env!("CARGO_BIN_EXE_guestctl"),
            other => panic!("no program {other}"),
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .env_remove("COLUMNS")
            .env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a program to its end: exit status, standard output, standard error.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        ended(self.command(program, arguments).spawn().unwrap()).await
    }
}

/// Waits for a program: exit status, standard output, standard error.
pub async fn ended(child: Child) -> (i32, String, String) {
    let output: Output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
