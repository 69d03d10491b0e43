//! This program once more, as the short-lived process that sets up or undoes a network: in it a step can fail, or the
//! process be killed.

use std::{
    env,
    fs::File,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
};

use guestd::{
    model::{GuestName, Network},
    network::{self, fault},
};

use crate::host::Guest;

const NETWORK: &str = "PLAYED_NETWORK";
const NETNS: &str = "PLAYED_NETNS";
const GUEST: &str = "PLAYED_GUEST";
const RECORD: &str = "PLAYED_RECORD";

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// With this error.
    Failed(String),
    Killed,
}

/// Sets up a network in a process, with a fault.
pub fn apply(network: &Network, guest: &Guest, record: &Path, fault: &str) -> End {
    let network = serde_json::to_string(network).unwrap();
    let netns = format!("/proc/{}/ns/net", guest.pid());
    play(&[(NETWORK, &network), (NETNS, &netns), (GUEST, guest.name.as_str())], record, fault)
}

/// Undoes one.
pub fn undo(record: &Path, fault: &str) -> End {
    play(&[], record, fault)
}

fn play(variables: &[(&str, &str)], record: &Path, fault: &str) -> End {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "played::a_process", "--ignored", "--nocapture"]);
    command.envs(variables.iter().copied()).env(RECORD, record).env(fault::VARIABLE, fault);
    let output = command.stdin(Stdio::null()).output().unwrap();
    if output.status.signal() == Some(9) {
        return End::Killed;
    }
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().find_map(|line| line.split_once("ended: ")) {
        Some((_, "done")) => End::Done,
        Some((_, error)) => End::Failed(error.to_owned()),
        None => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The process.
#[test]
#[ignore = "other tests run it as a process of their own"]
fn a_process() {
    let Ok(record) = env::var(RECORD) else { return };
    let record = Path::new(&record);
    let result = match env::var(NETWORK) {
        Ok(text) => {
            let network = serde_json::from_str(&text).unwrap();
            let netns = File::open(env::var(NETNS).unwrap()).unwrap();
            let guest = GuestName::new(&env::var(GUEST).unwrap()).unwrap();
            network::apply(&network, &guest, netns.as_fd(), record)
        }
        Err(_) => network::undo(record),
    };
    match result {
        Ok(()) => println!("ended: done"),
        Err(error) => println!("ended: {:#}", anyhow::Error::from(error)),
    }
}
