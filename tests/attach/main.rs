//! People in guests: `guestctl attach`, `console`, `exec`, `top` and `status`, on real containers and native
//! guests.

#[path = "../host/mod.rs"]
mod host;
mod many;
mod refused;
mod terminal;
mod usage;

use std::{
    fs,
    io::Write,
    ops::{Deref, DerefMut},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use host::{Host, Kind, wait_for};
use terminal::Terminal;

/// A busybox's own programs are many; only a few have links.
const BOX: &str = "/bin/busybox";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A host with these guests, which run.
fn running(guests: &[&str]) -> Host {
    running_of(Kind::Lxc, guests).host
}

/// A host that nobody else has native guests beside: their cgroups are named after them, whosever they are.
struct Alone {
    host: Host,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Deref for Alone {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// A host with these guests of a kind, which run.
fn running_of(kind: Kind, guests: &[&str]) -> Alone {
    static TURN: Mutex<()> = Mutex::new(());
    eprintln!("{kind:?}:");
    let turn = (kind == Kind::Native).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    let host = Host::running("");
    for guest in guests {
        match kind {
            Kind::Lxc => host.guest(guest, &[]),
            Kind::Native => host.native_guest(guest, "/bin/init", ""),
        }
    }
    host.guestctl_ok(&["reload"]);
    if !guests.is_empty() {
        host.guestctl_ok(&[&["start"], guests].concat());
    }
    Alone { host, _turn: turn }
}

fn attach(host: &Host, guest: &str, script: &str) -> Output {
    host.guestctl(&["attach", guest, "--", "/bin/sh", "-c", script])
}

/// The processes on the host that were started with these words.
fn processes(words: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim() == words
    };
    pids.filter(is_it).collect()
}

/// Waits until so many processes were started with these words.
fn until_processes(words: &str, count: usize) {
    wait_for(words, || (processes(words).len() == count).then_some(()));
}

/// A number of seconds that no other test sleeps.
fn unique(number: u32) -> String {
    format!("{}", 100_000 * (u64::from(std::process::id()) + 1) + u64::from(number))
}

#[test]
fn a_command_has_the_streams_of_the_client_and_its_status_comes_back() {
    Kind::ALL.into_iter().for_each(of_a_command_has_the_streams_of_the_client_and_its_status_comes_back);
}

fn of_a_command_has_the_streams_of_the_client_and_its_status_comes_back(kind: Kind) {
    let host = running_of(kind, &["web"]);
    let output = attach(&host, "web", "echo out; echo err >&2; exit 7");
    assert_eq!((output.status.code(), &*stdout(&output), &*stderr(&output)), (Some(7), "out\n", "err\n"));
    // As a shell tells it.
    assert_eq!(attach(&host, "web", "kill -9 $$").status.code(), Some(137));
    assert_eq!(attach(&host, "web", "exit 255").status.code(), Some(255));
    let output = host.guestctl(&["attach", "web", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(127), "{}", stderr(&output));

    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    client.args(["attach", "web", "--", BOX, "wc", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().expect("guestctl");
    client.stdin.take().expect("a pipe").write_all(&vec![b'x'; 300_000]).expect("it is read");
    assert_eq!(stdout(&client.wait_with_output().expect("its end")).trim(), "300000");
    // A shell reads its commands.
    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    client.args(["attach", "web"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().expect("guestctl");
    client.stdin.take().expect("a pipe").write_all(b"echo $((6 * 7))\nexit 3\n").expect("it is read");
    let output = client.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(3), "42\n"));
    let log = host.log();
    assert!(log.contains("web: user 0 attaches to it: /bin/sh") && !log.contains("kill -9"), "{log}");
    assert!(log.contains("web: user 0 attaches to it: a shell"), "{log}");
}

#[test]
fn nothing_of_the_host_comes_along() {
    Kind::ALL.into_iter().for_each(of_nothing_of_the_host_comes_along);
}

fn of_nothing_of_the_host_comes_along(kind: Kind) {
    let host = running_of(kind, &["web"]);
    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    client.args(["attach", "web", "--", BOX, "env"]).env("SECRET", "1").env("TERM", "vt100");
    let output = client.output().expect("guestctl");
    let told = stdout(&output);
    let mut names: Vec<&str> = told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "TERM", "USER", "container"], "{told}");
    assert!(told.contains("TERM=vt100\n"), "{told}");
    let told = stdout(&attach(&host, "web", "cd /proc/self/fd && for fd in *; do echo $fd; done; cd -"));
    // Beside the three there is what the shell reads the folder by.
    assert!(told.lines().count() <= 5 && told.starts_with("0\n1\n2\n"), "{told}");
    assert!(told.ends_with("/\n"), "{told}");
}

#[test]
fn a_terminal_is_one_inside_and_follows_the_size() {
    Kind::ALL.into_iter().for_each(of_a_terminal_is_one_inside_and_follows_the_size);
}

fn of_a_terminal_is_one_inside_and_follows_the_size(kind: Kind) {
    let host = running_of(kind, &["web"]);
    let mut terminal = Terminal::guestctl(&host, &["attach", "web"]);
    terminal.until("/ # ");
    assert!(!terminal.echoes(), "keys are passed on as they are");
    terminal.types("/bin/busybox stty size; /bin/busybox tty; echo T=$TERM\n");
    terminal.until("30 90\n");
    terminal.until("/dev/pts/");
    terminal.until("T=xterm-256color\n");
    terminal.resize((17, 63));
    // How soon it gets there is nobody's promise.
    terminal
        .types("while [ \"$(/bin/busybox stty size)\" != '17 63' ]; do sleep 0.01; done; echo re''sized\n");
    terminal.until("resized\n");
    let nap = unique(1);
    terminal.types(&format!("sleep {nap}\n"));
    until_processes(&format!("sleep {nap}"), 1);
    terminal.types("\x03");
    until_processes(&format!("sleep {nap}"), 0);
    terminal.types("echo interru''pted $?; exit 9\n");
    terminal.until("interrupted 130\n");
    assert_eq!(terminal.ended().code(), Some(9));
    assert!(terminal.echoes(), "the terminal is as it was");
}

#[test]
fn the_escape_leaves_a_guest_that_hangs() {
    Kind::ALL.into_iter().for_each(of_the_escape_leaves_a_guest_that_hangs);
}

fn of_the_escape_leaves_a_guest_that_hangs(kind: Kind) {
    let host = running_of(kind, &["web"]);
    let nap = unique(2);
    // Hears no key, and no hangup.
    let script =
        format!("trap '' HUP INT; /bin/busybox stty -isig -echo; echo there; while :; do sleep {nap}; done");
    let mut terminal = Terminal::guestctl(&host, &["attach", "web", "--", "/bin/sh", "-c", &script]);
    terminal.until("there\n");
    until_processes(&format!("sleep {nap}"), 1);
    terminal.types("\x03\x1d\x1d");
    host.guestctl_ok(&["status", "web"]);
    terminal.types("x\x1d\x1d\x1d");
    assert_eq!(terminal.ended().code(), Some(130));
    terminal.until("guestctl: left guest web");
    assert!(terminal.echoes(), "the terminal is as it was");
    until_processes(&format!("sleep {nap}"), 0);
}

#[test]
fn what_runs_inside_ends_with_its_client() {
    Kind::ALL.into_iter().for_each(of_what_runs_inside_ends_with_its_client);
}

fn of_what_runs_inside_ends_with_its_client(kind: Kind) {
    let host = running_of(kind, &["web"]);
    // With a terminal, and without, where it hears no hangup either.
    let nap = unique(3);
    let script = format!("trap '' HUP TERM; echo there; while :; do sleep {nap}; done");
    let mut terminal = Terminal::guestctl(&host, &["attach", "web", "--", "/bin/sh", "-c", &script]);
    terminal.until("there\n");
    terminal.kill();
    until_processes(&format!("sleep {nap}"), 0);
    until_processes(&format!("/bin/sh -c {script}"), 0);

    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    client.args(["attach", "web", "--", "/bin/sh", "-c", &script]).stdout(Stdio::piped());
    let mut client = client.spawn().expect("guestctl");
    until_processes(&format!("sleep {nap}"), 1);
    client.kill().expect("a kill");
    client.wait().expect("its end");
    until_processes(&format!("sleep {nap}"), 0);
    until_processes(&format!("/bin/sh -c {script}"), 0);
    // Its guest has not noticed.
    assert_eq!(host.status("web")["phase"], "up");
}

#[test]
fn a_guestd_that_dies_leaves_the_command_and_the_client_says_so() {
    Kind::ALL.into_iter().for_each(of_a_guestd_that_dies_leaves_the_command_and_the_client_says_so);
}

fn of_a_guestd_that_dies_leaves_the_command_and_the_client_says_so(kind: Kind) {
    let mut host = running_of(kind, &["web"]);
    let nap = unique(4);
    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    // What runs inside has its streams, and would keep a pipe open.
    let errors = fs::File::create(host.at("errors")).expect("a file");
    client.args(["attach", "web", "--", "/bin/sleep", &nap]).stderr(errors);
    let mut client = client.spawn().expect("guestctl");
    let words = format!("/bin/sleep {nap}");
    until_processes(&words, 1);
    host.kill_daemon();
    assert_eq!(client.wait().expect("its end").code(), Some(1));
    let errors = fs::read_to_string(host.at("errors")).expect("text");
    assert!(errors.contains("guestd went away; what runs in guest web may go on"), "{errors}");
    assert_eq!(processes(&words).len(), 1);
    for pid in processes(&words) {
        Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
    }
    until_processes(&words, 0);
}

#[test]
fn a_console_shows_what_is_written_there_and_takes_what_is_typed() {
    Kind::ALL.into_iter().for_each(of_a_console_shows_what_is_written_there_and_takes_what_is_typed);
}

fn of_a_console_shows_what_is_written_there_and_takes_what_is_typed(kind: Kind) {
    let host = running_of(kind, &["web"]);
    let output = host.guestctl(&["console", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a console needs a terminal"), "{}", stderr(&output));
    let mut terminal = Terminal::guestctl(&host, &["console", "web"]);
    // Whoever comes too early sees nothing.
    wait_for("the console", || {
        attach(&host, "web", "echo on the console >/dev/console");
        terminal.shown().contains("on the console").then_some(())
    });
    // What is told in the journal has it all the same.
    let log = host.at(if kind == Kind::Lxc { "run/console/web.log" } else { "run/native/web/console" });
    let is_there = || fs::read_to_string(&log).unwrap_or_default().contains("on the console").then_some(());
    wait_for("the log of the console", is_there);
    let reader = attach_in_background(&host, "web", "read line </dev/console; echo \"read $line\"");
    until_processes("/bin/sh -c read line </dev/console; echo \"read $line\"", 1);
    terminal.types("typed there\r");
    assert_eq!(stdout(&reader.wait_with_output().expect("its end")), "read typed there\n");
    terminal.types("\x1d\x1d\x1d");
    assert_eq!(terminal.ended().code(), Some(130));
    // It can be used again.
    let mut terminal = Terminal::guestctl(&host, &["console", "web"]);
    wait_for("the console", || {
        attach(&host, "web", "echo once more >/dev/console");
        terminal.shown().contains("once more").then_some(())
    });
    host.guestctl_ok(&["kill", "web"]);
    assert!(terminal.ended().code().is_some(), "it ends with its guest");
}

fn attach_in_background(host: &Host, guest: &str, script: &str) -> std::process::Child {
    let mut client = host.command(env!("CARGO_BIN_EXE_guestctl"));
    client.args(["attach", guest, "--", "/bin/sh", "-c", script]).stdout(Stdio::piped());
    client.spawn().expect("guestctl")
}
