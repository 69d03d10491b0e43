//! The daemon without systemd and guest-helper run a script in the same way, and leave nothing of it behind.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use super::*;
use crate::launch::{Direct, Launcher};

#[path = "../../../tests/executable/mod.rs"]
mod executable;

/// How a script of this text ends, run by either end.
type Runs = fn(&str, Duration) -> HookEnd;
const BOTH: [Runs; 2] = [alone, by_daemon];

fn alone(text: &str, within: Duration) -> HookEnd {
    let dir = tempfile::tempdir().unwrap();
    let path = executable::script(&dir.path().join("script"), text);
    run(&path, &GuestName::new("web").unwrap(), Event::Reboot, within)
}

fn by_daemon(text: &str, within: Duration) -> HookEnd {
    let dir = tempfile::tempdir().unwrap();
    let path = executable::script(&dir.path().join("script"), text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run_within(&path, within))
}

async fn run_within(script: &Path, within: Duration) -> HookEnd {
    let guest = GuestName::new("web").unwrap();
    match program(script, &guest, Event::Reboot, within) {
        Ok(program) => Direct::default().run_hook(&guest, &program).await,
        Err(error) => HookEnd::Failed(error),
    }
}

#[test]
fn the_exit_status_decides() {
    let long = Duration::from_secs(60);
    for runs in BOTH {
        for agrees in [
            "test \"$GUESTD_GUEST:$GUESTD_EVENT\" = web:reboot",
            "test -z \"$HOME\"",
            "echo noise; echo noise >&2",
        ] {
            assert!(matches!(runs(agrees, long), HookEnd::Exited(status) if status.success()), "{agrees}");
        }
        for (declines, code) in [("exit 7", Some(7)), ("kill -9 $$", None)] {
            let end = runs(declines, long);
            assert!(matches!(end, HookEnd::Exited(status) if !status.success() && status.code() == code));
        }
    }
}

/// Reads what is written to a FIFO: says when its first line is there, and gives all of it back when everybody who has
/// it open is dead.
fn reader_of(fifo: &Path) -> (oneshot::Receiver<()>, JoinHandle<String>) {
    nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (path, (begun, begins)) = (fifo.to_owned(), oneshot::channel());
    let reader = std::thread::spawn(move || {
        let mut fifo = BufReader::new(File::open(path).unwrap());
        let mut text = String::new();
        fifo.read_line(&mut text).unwrap();
        // Not every test waits for it.
        let _ = begun.send(());
        fifo.read_to_string(&mut text).unwrap();
        text
    });
    (begins, reader)
}

#[test]
fn a_script_that_takes_too_long_is_killed_with_its_children() {
    for runs in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let (_, reader) = reader_of(&fifo);
        let text = format!("exec 3>{}; echo up >&3; sleep 600 & wait", fifo.display());
        let begun = Instant::now();
        assert!(matches!(runs(&text, Duration::from_secs(2)), HookEnd::TimedOut));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(reader.join().unwrap(), "up\n");
    }
}

#[tokio::test]
async fn a_script_that_nobody_waits_for_any_more_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let (begins, reader) = reader_of(&fifo);
    let text = format!("exec 3>{}; sleep 600 & echo up >&3; wait", fifo.display());
    let path = executable::script(&dir.path().join("script"), &text);
    tokio::select! {
        end = run_within(&path, Duration::from_secs(60)) => panic!("{end:?}"),
        begun = begins => begun.unwrap(),
    }
    assert_eq!(reader.join().unwrap(), "up\n");
}

#[tokio::test]
async fn a_script_that_cannot_be_run_says_so() {
    let guest = GuestName::new("web").unwrap();
    let within = Duration::from_secs(1);
    for (path, kind) in
        [("/nonexistent/script", io::ErrorKind::NotFound), ("script", io::ErrorKind::InvalidInput)]
    {
        let alone = run(Path::new(path), &guest, Event::Reboot, within);
        for end in [alone, run_within(Path::new(path), within).await] {
            match end {
                HookEnd::Failed(error) => assert_eq!(error.kind(), kind, "{path}"),
                end => panic!("{path}: {end:?}"),
            }
        }
    }
}
