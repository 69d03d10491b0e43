//! The LXC engine against what strangers on the host do: users who play a monitor.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    io::{IoSlice, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
    thread,
};

use guestd::{
    engine::{Engine, ErrorKind, Probe, Request},
    model::{EngineSpec, Guest},
};
use lxc_host::{
    Host,
    bench::{Bench, signal},
    eventually, running_monitors,
};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// An unprivileged user.
const NOBODY: u32 = 65534;

/// A process that nobody may signal.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pidfd(&self) -> OwnedFd {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens on an abstract name as an unprivileged user, and says of every container that it runs, with this init.
fn impostor(name: String, init: OwnedFd) {
    let listener = thread::spawn(move || {
        // The system calls themselves: the C library would change every thread's user.
        // SAFETY: they take plain numbers, and change nothing but this thread's ids.
        let changed = unsafe {
            libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY)
                | libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY)
        };
        assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    });
    let listener = listener.join().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if answer(&mut stream, &init).is_some() {
                kept.push(stream);
            }
        }
    });
}

/// Answers one command, as a monitor whose container runs. None when the other end has said nothing.
fn answer(stream: &mut UnixStream, init: &OwnedFd) -> Option<()> {
    let mut request = [0; 16];
    stream.read_exact(&mut request).ok()?;
    let reply = |result: i32, word: i64| {
        [&result.to_ne_bytes()[..], &0_i32.to_ne_bytes(), &word.to_ne_bytes()].concat()
    };
    match request[0] {
        // GET_STATE: running.
        3 => stream.write_all(&reply(0, 2)).ok(),
        // ADD_STATE_CLIENT: registered.
        10 => stream.write_all(&reply(8, 0)).ok(),
        // GET_INIT_PIDFD.
        18 => {
            let fds = [init.as_raw_fd()];
            let bytes = reply(0, 0);
            let fds = [ControlMessage::ScmRights(&fds)];
            sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&bytes)], &fds, MsgFlags::empty(), None).ok();
            Some(())
        }
        _ => None,
    }
}

#[tokio::test]
async fn who_is_no_monitor_is_neither_believed_nor_obeyed() {
    let bench = Bench::new();
    let guest = bench.host.new_guest("held", "");
    let name = format!("{}/{}/command", bench.host.lxcpath().display(), guest.name);
    let mut victim = Victim::new();
    impostor(name.clone(), victim.pidfd());

    let words = format!("its socket @{name} is held by process {} of user {NOBODY}, ", std::process::id());
    for error in [
        bench.engine.probe(&guest).await.unwrap_err(),
        bench.engine.request(&guest, Request::Stop).await.unwrap_err(),
        bench.engine.request(&guest, Request::Reboot).await.unwrap_err(),
        bench.engine.start(&guest).await.unwrap_err(),
    ] {
        assert!(error.kind == ErrorKind::Denied && error.reason.starts_with(&words), "{error}");
    }
    // It leaves the impostor alone too: nothing of the guest runs.
    bench.engine.kill(&guest).await.unwrap();
    assert!(victim.0.try_wait().unwrap().is_none(), "a stranger's pidfd was signalled");
}

#[tokio::test]
async fn what_runs_by_another_path_is_not_started_twice() {
    for below in ["lxc".to_owned(), format!("{}/{}", "p".repeat(60), "q".repeat(60))] {
        let bench = Bench::on(Host::with_path(&below));
        let guest = bench.host.new_guest("once", "");
        let name = guest.name.as_str();
        let alias = bench.host.folder().join("alias");
        std::os::unix::fs::symlink(bench.host.lxcpath(), &alias).unwrap();
        let mut by_alias = Guest::clone(&guest);
        let EngineSpec::Lxc(spec) = &mut by_alias.engine else { panic!("no container") };
        spec.lxcpath = alias.as_path().into();
        let by_alias = Arc::new(by_alias);

        assert!(bench.host.lxc("lxc-start", name, &["-d"]).status.success());
        let error = bench.engine.start(&by_alias).await.unwrap_err();
        let words = format!("it runs already by the path {}, ", bench.host.lxcpath().display());
        assert!(error.kind == ErrorKind::Busy && error.reason.starts_with(&words), "{error}");
        assert!(bench.host.init(name).is_some(), "what runs is left alone");
        bench.engine.kill(&guest).await.unwrap();

        bench.engine.start(&by_alias).await.unwrap();
        let error = bench.engine.start(&guest).await.unwrap_err();
        assert!(error.reason.contains(&format!("lxc-stop -P {} -n {name}", alias.display())), "{error}");
        bench.engine.kill(&by_alias).await.unwrap();
        bench.engine.start(&guest).await.unwrap();
        bench.engine.kill(&guest).await.unwrap();
    }
}

#[tokio::test]
async fn a_strangers_namesake_hides_nothing() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("hidden", "lxc.monitor.signal.pdeath = 0");
    let init = bench.up(&guest).await;
    impostor(format!("/stranger/{}/command", guest.name), Victim::new().pidfd());
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-KILL");
    assert!(eventually(|| running_monitors(bench.host.lxcpath(), guest.name.as_str()).is_empty()).await);
    let later = bench.successor();
    assert!(matches!(later.engine.probe(&guest).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
    later.engine.kill(&guest).await.unwrap();
    assert_eq!(later.engine.probe(&guest).await.unwrap(), Probe::Down);
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}
