//! What real containers write on their consoles is told line by line, once, whatever they write.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs::{self, File},
    io::Write,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use guestd::{
    engine::{Engine, Epoch, Probe},
    model::{EngineSpec, Guest},
    systemd::message::CONSOLE,
};
use lxc_host::{
    Host, SOON,
    bench::{Bench, init_script},
    eventually,
};
use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// Everything that was told of guests: whether it is of a console, the guest, the text.
static TOLD: Mutex<Vec<(bool, String, String)>> = Mutex::new(Vec::new());

struct Collector;

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (mut guest, mut text) = (String::new(), String::new());
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| match field.name() {
            "guest" => guest = format!("{value:?}"),
            "message" => text = format!("{value:?}"),
            _ => {}
        });
        TOLD.lock().unwrap().push((event.metadata().target() == CONSOLE, guest, text));
    }
}

/// An engine on a host, with everything collected that is told.
fn bench() -> Bench {
    static COLLECTS: OnceLock<()> = OnceLock::new();
    COLLECTS.get_or_init(|| {
        let collector = tracing_subscriber::registry().with(Collector);
        tracing::subscriber::set_global_default(collector).unwrap();
    });
    Bench::new()
}

/// A container whose init is a script.
struct Scripted {
    guest: Arc<Guest>,
    gate: File,
}

impl Scripted {
    /// Its script writes on the console; `pass` in it waits until the test lets it go on.
    fn new(host: &Host, name: &str, text: &str) -> Self {
        let gate = host.folder().join("root/tmp").join(name);
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pass = format!("exec >/dev/console\npass() {{ read line </tmp/{name}; }}\n");
        let guest = host.new_guest(name, &init_script(host, name, &(pass + text)));
        // Open at both ends, so that nobody waits for the other one.
        Self { guest, gate: File::options().read(true).write(true).open(gate).unwrap() }
    }

    /// Lets it go on.
    fn pass(&self) {
        (&self.gate).write_all(b"\n").unwrap();
    }

    fn told(&self, of_console: bool) -> Vec<String> {
        let told = TOLD.lock().unwrap();
        let name = self.guest.name.as_str();
        let told = told.iter().filter(|(console, guest, _)| *console == of_console && guest == name);
        told.map(|(.., text)| text.clone()).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.told(true)
    }

    async fn tells(&self, line: &str) {
        let found = eventually(|| self.lines().iter().any(|told| told == line)).await;
        assert!(found, "no {line:?} in {:?}", self.lines());
    }
}

impl Deref for Scripted {
    type Target = Arc<Guest>;

    fn deref(&self) -> &Arc<Guest> {
        &self.guest
    }
}

fn files(host: &Host) -> Vec<String> {
    let folder = host.runtime_dir().join("console");
    let entries = fs::read_dir(&folder).unwrap().chain(fs::read_dir(folder.join("told")).unwrap());
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "told").collect()
}

#[tokio::test]
async fn a_run_is_told_to_its_last_line_and_the_next_one_after_it() {
    let mut bench = bench();
    let text = "echo begin; printf 'login: '; pass; echo; printf '\\033[1mend\\033[0m'";
    let guest = Scripted::new(&bench.host, "runs", text);
    bench.up(&guest).await;
    guest.tells("login:").await;
    assert_eq!(guest.lines(), ["begin", "login:"]);
    assert!(files(&bench.host).len() == 2, "{:?}", files(&bench.host));
    guest.pass();
    bench.ends(&guest, 0).await;
    assert_eq!(guest.lines(), ["begin", "login:", "end"], "all was told before the end is");
    assert_eq!(files(&bench.host), [""; 0]);

    bench.up(&guest).await;
    assert!(eventually(|| guest.lines().len() == 5).await);
    bench.engine.kill(&guest).await.unwrap();
    assert_eq!(guest.lines()[3..], ["begin", "login:"]);
    assert_eq!(files(&bench.host), [""; 0]);
}

#[tokio::test]
async fn rotation_loses_nothing() {
    let mut bench = bench();
    // Twenty times half a file.
    let text = "n=0; while [ $n -lt 800 ]; do n=$((n+1)); printf '%d %0800d\\n' $n 0\n\
                [ $((n % 40)) = 0 ] && { echo $n; pass; }\ndone";
    let guest = Scripted::new(&bench.host, "rotates", text);
    bench.up(&guest).await;
    for chunk in 1..=20 {
        guest.tells(&(40 * chunk).to_string()).await;
        guest.pass();
    }
    bench.ends(&guest, 0).await;
    let numbers = guest.lines().into_iter().filter_map(|line| line.split_once(' ')?.0.parse::<u32>().ok());
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=800).collect::<Vec<_>>());
    assert_eq!(guest.told(false), [""; 0]);
}

#[tokio::test]
async fn a_console_that_is_configured_is_left_alone() {
    let mut bench = bench();
    let log = bench.host.folder().join("own.log");
    let mut guest = Scripted::new(&bench.host, "own", "echo mine; pass");
    let config = bench.host.lxcpath().join(guest.name.as_str()).join("config");
    let more = format!("{}lxc.console.logfile = {}\n", fs::read_to_string(&config).unwrap(), log.display());
    fs::write(&config, more).unwrap();
    let EngineSpec::Lxc(spec) = &mut Arc::get_mut(&mut guest.guest).unwrap().engine else {
        panic!("no container")
    };
    spec.own_console = true;
    bench.up(&guest).await;
    assert!(eventually(|| fs::read_to_string(&log).is_ok_and(|text| text.contains("mine"))).await);
    assert_eq!(files(&bench.host), [""; 0]);
    guest.pass();
    bench.ends(&guest, 0).await;
    assert_eq!((guest.lines(), log.exists()), (Vec::new(), true));
}

#[tokio::test]
async fn the_next_daemon_tells_what_comes_after() {
    let mut first = bench();
    let goes_on =
        Scripted::new(&first.host, "goes", "echo one; pass; echo two; printf thr; pass; echo ee; pass");
    let ends = Scripted::new(&first.host, "ends", "echo one; pass; echo last");
    first.up(&goes_on).await;
    first.engine.start(&ends).await.unwrap();
    goes_on.tells("one").await;
    ends.tells("one").await;

    let Bench { host, engine, seen } = first;
    drop((engine, seen));
    goes_on.pass();
    ends.pass();
    let log = host.runtime_dir().join(format!("console/{}.log", goes_on.name));
    assert!(eventually(|| fs::read_to_string(&log).unwrap().ends_with("thr")).await);
    assert!(eventually(|| host.init(ends.name.as_str()).is_none()).await);

    let mut next = Bench::of(host);
    ends.tells("last").await;
    goes_on.tells("two").await;
    goes_on.pass();
    goes_on.tells("three").await;
    assert_eq!(goes_on.lines(), ["one", "two", "three"]);
    assert_eq!(ends.lines(), ["one", "last"]);
    let of_ended: Vec<_> =
        files(&next.host).into_iter().filter(|file| file.contains(ends.name.as_str())).collect();
    assert_eq!(of_ended, [""; 0]);
    next.engine.watch(goes_on.guest.clone(), Epoch(1));
    next.running(&goes_on).await;
    goes_on.pass();
    next.ends(&goes_on, 0).await;
    assert_eq!(files(&next.host), [""; 0]);
}

#[tokio::test]
async fn a_flood_holds_up_nobody() {
    let bench = bench();
    let floods = Scripted::new(&bench.host, "floods", "while :; do echo flood; done");
    let binary = "while :; do printf '\\033]0;'; cat /bin/busybox; done";
    let binary = Scripted::new(&bench.host, "binary", binary);
    bench.engine.start(&binary).await.unwrap();
    let quiet = Scripted::new(&bench.host, "quiet", "echo one; pass; echo two; pass");
    bench.engine.start(&floods).await.unwrap();
    assert!(eventually(|| floods.lines().len() >= 1000 && binary.lines().len() >= 1000).await);
    let began = Instant::now();
    bench.engine.start(&quiet).await.unwrap();
    assert!(matches!(bench.engine.probe(&floods).await.unwrap(), Probe::Up(_)));
    quiet.tells("one").await;
    quiet.pass();
    quiet.tells("two").await;
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    for guest in [&floods, &binary, &quiet] {
        bench.engine.kill(guest).await.unwrap();
        let count = guest.lines().len();
        assert!(count <= 1600, "{count} lines");
    }
    for guest in [&floods, &binary] {
        let reports = guest.told(false);
        assert!(reports.iter().any(|line| line.contains("of its console were left out (")), "{reports:?}");
    }
    assert_eq!(files(&bench.host), [""; 0]);
}
