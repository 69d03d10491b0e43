//! Readiness and health of real containers: probes, and what guests say themselves.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use guestd::{
    checks::{Checks, Tell, notify::Places},
    engine::entry::Ways,
    engine::{Engine, Epoch, Init, Observation, Request, notify},
    launch::Direct,
    model::{Condition, Guest, GuestName, Health, Probe, Ready},
    supervise::event::{Check, Checking, Event},
};
use lxc_host::{
    Host, SOON,
    bench::{Bench, init_script},
    eventually, executable,
};
use tokio::{
    net::TcpSocket,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

const INTERVAL: Duration = Duration::from_millis(20);

/// The checks of one daemon, and what they tell.
struct Room {
    checks: Checks,
    places: Arc<Places>,
    told: UnboundedReceiver<(GuestName, Event)>,
}

impl Room {
    /// Needs the host's folders to be open to root of unprivileged guests.
    fn new(host: &Host) -> Self {
        fs::set_permissions(host.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        let (sink, told) = unbounded_channel();
        let tell: Tell = Arc::new(move |guest: &GuestName, event| drop(sink.send((guest.clone(), event))));
        let (places, _) = Places::new(&host.runtime_dir(), tell.clone(), Vec::new());
        let places = Arc::new(places);
        let ways = Ways { monitor: None, runtime_dir: "/run/guestd".into() };
        let checks = Checks::new(Arc::new(Direct::default()), ways, places.clone(), tell);
        Self { checks, places, told }
    }

    fn check(&mut self, guest: &Arc<Guest>, init: Init, check: Check) {
        self.checks.set(guest, Some(Checking { epoch: Epoch(1), init: init.pid, check }));
    }

    async fn next(&mut self) -> Event {
        timeout(SOON, self.told.recv()).await.expect("nothing is told").unwrap().1
    }

    /// The next answer.
    async fn answer(&mut self) -> Result<(), String> {
        match self.next().await {
            Event::Checked(_, answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    async fn says(&mut self, status: &str) {
        match self.next().await {
            Event::Said(_, said) => assert_eq!(said, status),
            other => panic!("{other:?}"),
        }
    }

    /// Asks a guest until it is ready, and expects this no before.
    async fn becomes_ready(
        &mut self,
        guest: &Guest,
        init: Init,
        probe: Probe,
        no: &str,
        then: impl FnOnce(),
    ) {
        let guest = with(guest, Condition::Probe(probe));
        self.check(&guest, init, Check::Readiness);
        assert_eq!(self.answer().await, Err(no.to_owned()));
        then();
        assert_eq!(self.answer().await, Ok(()));
    }

    /// What a guest answers at once.
    async fn once(&mut self, guest: &Guest, init: Init, probe: Probe) -> Result<(), String> {
        self.check(&with(guest, Condition::Probe(probe)), init, Check::Readiness);
        let answer = self.answer().await;
        self.checks.set(&Arc::new(guest.clone()), None);
        answer
    }
}

fn with(guest: &Guest, when: Condition) -> Arc<Guest> {
    let ready = Ready { when, interval: INTERVAL, ..Ready::default() };
    Arc::new(Guest { ready, ..guest.clone() })
}

fn exec(script: &str) -> Probe {
    Probe::Exec(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

/// A container that mounts a file system of its own on /run, and a daemon's checks.
async fn up(more: &str) -> (Bench, Room, Arc<Guest>, Init) {
    let mut bench = Bench::new();
    let room = Room::new(&bench.host);
    let guest = bench.host.new_guest("ready", &format!("lxc.mount.entry = tmpfs run tmpfs rw 0 0\n{more}"));
    let init = bench.up(&guest).await;
    (bench, room, guest, init)
}

/// A path in a container, by its init.
fn inside(init: Init, path: &str) -> PathBuf {
    format!("/proc/{}/root{path}", init.pid).into()
}

#[tokio::test]
async fn files_and_sockets_are_those_of_the_guest() {
    let (_bench, mut room, guest, init) = up("").await;
    let file = || Probe::File("/run/x".into());
    let no = "file /run/x: no such file or directory";
    room.becomes_ready(&guest, init, file(), no, || fs::write(inside(init, "/run/x"), "").unwrap()).await;

    // What leads to the host when it is followed there leads nowhere inside.
    let own = tempfile::NamedTempFile::new().unwrap();
    for (name, target) in [("absolute", own.path().to_owned()), ("up", up_to(own.path()))] {
        symlink(target, inside(init, &format!("/run/{name}"))).unwrap();
        let answer = room.once(&guest, init, Probe::File(format!("/run/{name}").into())).await;
        assert_eq!(answer, Err(format!("file /run/{name}: no such file or directory")));
    }
    symlink("/proc/1/root", inside(init, "/run/magic")).unwrap();
    let by_magic = Path::new("/run/magic").join(own.path().strip_prefix("/").unwrap());
    let answer = room.once(&guest, init, Probe::File(by_magic.clone())).await;
    assert_eq!(answer, Err(format!("file {}: no such file or directory", by_magic.display())));
    symlink("/etc/inittab", inside(init, "/run/inner")).unwrap();
    assert_eq!(room.once(&guest, init, Probe::File("/run/inner".into())).await, Ok(()));

    // The host's own socket, by the same path, is nobody's business.
    let path = own.path().with_extension("socket");
    let _host = UnixListener::bind(&path).unwrap();
    let answer = room.once(&guest, init, Probe::Socket(path.clone())).await;
    assert_eq!(answer, Err(format!("socket {}: no such file or directory", path.display())));
    fs::remove_file(path).unwrap();
    let socket = || Probe::Socket("/run/s".into());
    let no = "socket /run/s: no such file or directory";
    let mut listener = None;
    room.becomes_ready(&guest, init, socket(), no, || {
        listener = Some(UnixListener::bind(inside(init, "/run/s")).unwrap());
    })
    .await;
    drop(listener);
    let answer = room.once(&guest, init, socket()).await;
    assert_eq!(answer, Err("socket /run/s: connection refused".to_owned()));
}

fn up_to(path: &Path) -> PathBuf {
    Path::new("../../../../..").join(path.strip_prefix("/").unwrap())
}

#[tokio::test]
async fn somebody_takes_connections() {
    let (_bench, mut room, guest, init) = up("").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let probe = Probe::Tcp { host: "localhost".into(), port };
    let no = format!("tcp localhost:{port}: connection refused");
    let mut listener = None;
    room.becomes_ready(&guest, init, probe, &no, || listener = Some(socket.listen(8).unwrap())).await;
}

#[tokio::test]
async fn programs_run_inside_and_end_there() {
    let (bench, mut room, guest, init) = up("").await;
    let no = "exec /bin/sh -c test -e /run/x: status 1";
    room.becomes_ready(&guest, init, exec("test -e /run/x"), no, || {
        fs::write(inside(init, "/run/x"), "").unwrap();
    })
    .await;
    let answer = room.once(&guest, init, Probe::Exec(vec!["/bin/none".into()])).await;
    assert_eq!(answer, Err("exec /bin/none: status 127".to_owned()));
    let same = format!("[ $(/bin/busybox hostname) = {} ] && [ -z \"$HOME$MARK\" ]", guest.name);
    assert_eq!(room.once(&guest, init, exec(&same)).await, Ok(()));

    // What takes too long is killed, also inside: nothing of it is left.
    let hangs = exec("/bin/busybox echo $$ >/run/pid; /bin/busybox sleep 1000; :");
    let mut health = Health::new(hangs);
    (health.interval, health.timeout) = (INTERVAL, Duration::from_millis(500));
    let ill = Arc::new(Guest { health: Some(health), ..Guest::clone(&guest) });
    room.check(&ill, init, Check::Health);
    let why = room.answer().await.unwrap_err();
    assert!(why.starts_with("exec /bin/sh -c ") && why.ends_with(": no answer within 500ms"), "{why}");
    room.checks.set(&ill, None);
    let listed = || String::from_utf8(bench.host.inside(guest.name.as_str(), &["ps"]).stdout).unwrap();
    assert!(eventually(|| !listed().contains("sleep 1000")).await, "{}", listed());
}

#[tokio::test]
async fn health_is_told_when_it_changes() {
    let (_bench, mut room, guest, init) = up("").await;
    let mut health = Health::new(Probe::File("/run/x".into()));
    health.interval = INTERVAL;
    let guest = Arc::new(Guest { health: Some(health), ..Guest::clone(&guest) });
    fs::write(inside(init, "/run/x"), "").unwrap();
    room.check(&guest, init, Check::Health);
    fs::remove_file(inside(init, "/run/x")).unwrap();
    for _ in 0..3 {
        assert_eq!(room.answer().await, Err("file /run/x: no such file or directory".to_owned()));
    }
    fs::write(inside(init, "/run/x"), "").unwrap();
    while room.answer().await.is_err() {}
    room.checks.set(&guest, None);
    assert!(room.told.is_empty(), "told twice");
}

/// A container whose init runs this script; it has the host's programs.
fn notifying(bench: &Bench, script: &str, more: &str) -> Arc<Guest> {
    say(&bench.host);
    let line = init_script(&bench.host, "notifying", &format!("{script}\nwhile :; do /bin/sleep 1000; done"));
    let usr = "lxc.mount.entry = /usr usr none bind,ro 0 0";
    with(&bench.host.new_guest("notify", &format!("{line}\n{usr}\n{more}")), Condition::Notify)
}

/// Makes `say`: sends each of its words to the notification socket, as `systemd-notify` would. A word may be a number of
/// bytes, or `flood`.
fn say(host: &Host) {
    let root = host.folder().join("root");
    let perl = r#"
        use Socket;
        socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        my $to = sockaddr_un("/dev/guestd/socket");
        for my $word (@ARGV) {
            my @all = $word eq "flood" ? map { "STATUS=$_" } 1..1000 : $word =~ /^\d+$/ ? "STATUS=" . "x" x $word : $word;
            for my $text (@all) {
                $text =~ s/\|/\n/g;
                send($socket, $text, 0, $to) or die "$text: $!";
            }
        }
    "#;
    fs::write(root.join("say.pl"), perl).unwrap();
    fs::create_dir(root.join("usr")).unwrap();
    for link in ["lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    executable::script(&root.join("bin/say"), "exec /usr/bin/perl /say.pl \"$@\"");
}

async fn started(bench: &mut Bench, room: &Room, guest: &Arc<Guest>) -> Init {
    room.places.open(guest);
    bench.up(guest).await
}

fn says_inside(bench: &Bench, guest: &Guest, words: &[&str]) {
    let output = bench.host.lxc("lxc-attach", guest.name.as_str(), &[&["--", "/bin/say"], words].concat());
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_guest_says_that_it_is_ready_and_how_it_is() {
    let mut bench = Bench::new();
    let mut room = Room::new(&bench.host);
    let guest = notifying(&bench, "say STATUS=begins 4089 8000 'READY=1|STATUS=it is \"up\"' READY=1", "");
    let init = started(&mut bench, &room, &guest).await;
    room.check(&guest, init, Check::Readiness);
    room.says("begins").await;
    assert_eq!(room.answer().await, Ok(()));
    room.says("it is \"up\"").await;

    // The daemon after this one knows what was heard, and hears the same guest.
    drop(room);
    let mut room = Room::new(&bench.host);
    room.check(&guest, init, Check::Readiness);
    assert_eq!(room.answer().await, Ok(()));
    room.check(&guest, init, Check::Health);
    says_inside(&bench, &guest, &["STATUS=later"]);
    room.says("later").await;

    let folder = notify::folder(&bench.host.runtime_dir(), &guest.name);
    assert!(folder.join(notify::SOCKET).exists());
    bench.engine.kill(&guest).await.unwrap();
    room.checks.down(&guest.name);
    assert!(!folder.exists(), "its folder is left");
}

#[tokio::test]
async fn each_init_says_it_for_itself() {
    let mut bench = Bench::new();
    let mut room = Room::new(&bench.host);
    let script = "trap '/bin/busybox reboot -f' TERM; say READY=1 STATUS=$$; while :; do /bin/busybox usleep 20000; done";
    let guest = notifying(&bench, &format!("[ -e /tmp/quiet ] || {{ {script}; }}"), "");
    let init = started(&mut bench, &room, &guest).await;
    room.check(&guest, init, Check::Readiness);
    assert_eq!(room.answer().await, Ok(()));
    room.says("1").await;
    // What it says between two inits counts for the second one, and only that.
    for quiet in [false, true] {
        if quiet {
            fs::write(bench.host.folder().join("root/tmp/quiet"), "").unwrap();
        }
        room.checks.set(&guest, None);
        bench.engine.request(&guest, Request::Reboot).await.unwrap();
        assert!(matches!(bench.observes(&guest).await, Observation::InitExited(_)));
        let init = bench.running(&guest).await;
        room.check(&guest, init, Check::Readiness);
        if quiet {
            says_inside(&bench, &guest, &["STATUS=quiet"]);
            room.says("quiet").await;
        } else {
            assert_eq!(room.answer().await, Ok(()));
            room.says("1").await;
        }
    }
}

#[tokio::test]
async fn strangers_are_not_heard() {
    let mut bench = Bench::new();
    let mut room = Room::new(&bench.host);
    let guest = notifying(&bench, "", "");
    let init = started(&mut bench, &room, &guest).await;
    let socket = notify::folder(&bench.host.runtime_dir(), &guest.name).join(notify::SOCKET);
    let stranger = UnixDatagram::unbound().unwrap();
    // Before anybody is heard, and afterwards.
    stranger.send_to(b"READY=1\nSTATUS=strange", &socket).unwrap();
    room.check(&guest, init, Check::Readiness);
    stranger.send_to(b"READY=1\nSTATUS=strange", &socket).unwrap();
    says_inside(&bench, &guest, &["STATUS=own"]);
    room.says("own").await;

    // Nor is a guest heard that others have started: it has no socket, and that is told.
    let other = with(&bench.host.new_guest("other", ""), Condition::Notify);
    let init = bench.up(&other).await;
    room.check(&other, init, Check::Readiness);
    let why = "notify: it runs without /dev/guestd; restart it by guestd";
    assert_eq!(room.answer().await, Err(why.to_owned()));
}

#[tokio::test]
async fn an_unprivileged_guest_is_heard_and_can_write_nothing() {
    let mut bench = Bench::new();
    let mut room = Room::new(&bench.host);
    let idmap = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536";
    let guest = notifying(&bench, "/bin/busybox touch /dev/guestd/x && exit 1; say READY=1", idmap);
    let init = started(&mut bench, &room, &guest).await;
    room.check(&guest, init, Check::Readiness);
    assert_eq!(room.answer().await, Ok(()));
}

#[tokio::test]
async fn a_flood_is_told_in_few_words_and_holds_up_nobody() {
    let mut bench = Bench::new();
    let mut room = Room::new(&bench.host);
    let guest = notifying(&bench, "say flood READY=1", "");
    let begun = Instant::now();
    let init = started(&mut bench, &room, &guest).await;
    room.check(&guest, init, Check::Readiness);
    let mut said = 0;
    while !matches!(room.next().await, Event::Checked(_, Ok(()))) {
        said += 1;
    }
    assert!(said <= begun.elapsed().as_secs() + 1, "{said} in {:?}", begun.elapsed());
}
