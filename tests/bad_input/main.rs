//! Bad input, end to end with a whole daemon: each costs itself only, and says where it is. Every host has a good guest
//! beside what is bad, which must start and stop as if nothing were wrong.

#[path = "../host/mod.rs"]
mod host;

mod bus;
mod dependencies;
mod files;
mod helper;
mod later;
mod unprivileged;

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::Path,
    process::Output,
};

use host::Host;

const WRITTEN: &str = "order = \"highest-first\"";

/// A host with a good guest beside what is bad.
struct Stage {
    host: Host,
    good: String,
}

impl Stage {
    /// A name for a guest that no other test uses: cgroups are named after guests, wherever these are defined.
    fn named(&self, name: &str) -> String {
        let folder = self.host.at("");
        let random =
            folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').nth(1));
        format!("{name}{}", random.expect("a random part"))
    }
}

impl Deref for Stage {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// A host with a good guest, and no daemon yet.
fn host() -> Stage {
    let mut stage = Stage { host: Host::new(WRITTEN), good: String::new() };
    stage.good = stage.named("good");
    stage.guest(&stage.good, &["lxc.start.auto = 1"]);
    stage
}

/// Writes a file with the folders above it.
fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder above")).expect("folders");
    fs::write(path, content).expect("a file");
}

/// The good guest starts and ends, and the daemon answers.
#[track_caller]
fn nothing_else_is_affected(host: &Stage) {
    host.guestctl_ok(&["start", &host.good]);
    assert_eq!(host.status(&host.good)["phase"], "up");
    host.guestctl_ok(&["kill", &host.good]);
    assert_eq!(host.status(&host.good)["phase"], "down");
}

/// An error is told at its place by `guestctl check`, and by the daemon in its log and on the bus, in the same words.
/// `place` is below the host's folder.
#[track_caller]
fn is_told(host: &Host, place: &str, words: &str) {
    let begin = format!("{}: error: ", host.at(place).display());
    let check = host.guestctl(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{}", out(&check));
    let lines: Vec<_> = out(&check).lines().map(str::to_owned).filter(|l| l.starts_with(&begin)).collect();
    assert_eq!(lines.len(), 1, "{begin}\n{}", out(&check));
    assert!(lines[0].contains(words), "{}", lines[0]);
    assert!(host.log().contains(&lines[0]), "{}\nis not in the log:\n{}", lines[0], host.log());
    assert!(bus::diagnostics(host).contains(&lines[0]), "{}\nis not on the bus", lines[0]);
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
