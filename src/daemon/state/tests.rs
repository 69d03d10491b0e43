//! Files are written and read again, in this boot and another; what is broken is kept, and stops nobody.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    model::{EngineSpec, Guest, Hold, HoldWish, LxcSpec, Order, Pressure, StopWait, Timestamp, Verb},
    plan::Guests,
    supervise::fleet::Rules,
};

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn now() -> Now {
    let instant = crate::model::Instant(Duration::from_secs(1000));
    Now { instant, wall: Timestamp(1_700_000_000_000_000) }
}

fn directories(state: &Path) -> Directories {
    // The runtime directory is below it here.
    let runtime = state.join("run");
    fs::create_dir_all(&runtime).unwrap();
    Directories { config: state.join("etc"), runtime, state: state.to_owned() }
}

fn rules() -> Rules {
    Rules { order: Order::HighestFirst, max_starting: 4, pressure: Pressure::NONE, boot_groups: Vec::new() }
}

/// A daemon, as far as it keeps something.
struct Daemon {
    store: StateStore,
    fleet: Fleet,
}

impl Daemon {
    fn begin(state: &Path, guests: impl IntoIterator<Item = String>) -> Self {
        let (store, kept) = StateStore::open(&directories(state), now());
        let mut fleet = Fleet::new(rules(), BTreeSet::new());
        fleet.recollect(kept);
        let guests = guests.into_iter().map(|text| (name(&text), Arc::new(guest(state, &text))));
        fleet.load(rules(), guests.collect::<Guests>(), now());
        let mut daemon = Self { store, fleet };
        daemon.settle();
        daemon
    }

    fn settle(&mut self) {
        let absent = self.store.record(&self.fleet, now());
        self.fleet.recollect(absent);
        self.fleet.publish(&Arc::default());
    }

    fn hold(&mut self, text: &str, reason: &str) {
        let wish = HoldWish { reason: Some(reason.into()), until: None };
        self.fleet.operate(Verb::Hold, &name(text), StopWait::Configured, wish, now()).unwrap();
        self.settle();
    }

    /// Waits until all is written, or has failed.
    fn written(&self) {
        if let Some(written) = self.store.durable() {
            written.blocking_recv().unwrap();
        }
    }

    fn held(&self, text: &str) -> Option<&Hold> {
        self.fleet.state(&name(text)).unwrap().held.as_ref()
    }
}

fn guest(lxcpath: &Path, text: &str) -> Guest {
    let spec = LxcSpec::new(Arc::from(lxcpath));
    Guest::new(name(text), EngineSpec::Lxc(spec))
}

fn one(state: &Path) -> Daemon {
    Daemon::begin(state, ["web".to_owned()])
}

#[test]
fn a_hold_is_there_for_the_next_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = one(dir.path());
    let file = dir.path().join("guests/web.json");
    assert!(!file.exists(), "there is nothing to keep yet");
    daemon.hold("web", "disk full");
    daemon.written();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let next = one(dir.path());
    assert_eq!(next.held("web").map(|hold| &*hold.reason), Some("disk full"));
    let text = fs::read_to_string(&file).unwrap();
    drop(next);
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "nothing has changed");
}

#[test]
fn the_end_of_a_daemon_waits_for_what_is_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::begin(dir.path(), (0..50).map(|n| format!("g{n}")));
    for n in 0..50 {
        daemon.hold(&format!("g{n}"), "soon");
    }
    drop(daemon);
    let files = || fs::read_dir(dir.path().join("guests")).unwrap().count();
    assert_eq!(files(), 50, "and no temporary file");
    fs::write(dir.path().join("guests/.g1.json.4711"), "{").unwrap();
    one(dir.path());
    assert_eq!(files(), 50, "nor that of a daemon that was killed");
}

#[test]
fn the_last_word_stays_in_any_hurry() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = one(dir.path());
    for n in 0..500 {
        daemon.hold("web", &format!("reason {n}"));
    }
    daemon.written();
    assert_eq!(one(dir.path()).held("web").map(|hold| &*hold.reason), Some("reason 499"));
}

#[test]
fn counters_count_in_their_boot_only() {
    let what = Recollection {
        is_wanted: false,
        was_up: true,
        hold: Some(Hold { reason: "x".into(), since: Timestamp(1), until: Some(Timestamp(2)) }),
        restarts: 3,
        retries: crate::supervise::state::Retries { at: [now()].into(), streak: 2 },
        reboots: [now().instant].into(),
        history: [crate::model::PastEnd { at: Timestamp(5), how: "y".into() }].into(),
    };
    let stored = StoredGuest::new(&name("web"), "boot-1", &what, now());
    let later = Now {
        instant: now().instant.plus(Duration::from_secs(9)),
        wall: now().wall_in(Duration::from_secs(9)),
    };
    assert_eq!(stored.clone().recollection(Some("boot-1"), later), what);
    let fresh = Recollection {
        was_up: false,
        restarts: 0,
        retries: Default::default(),
        reboots: Default::default(),
        ..what.clone()
    };
    for boot in [Some("boot-2"), None] {
        assert_eq!(stored.clone().recollection(boot, later), fresh, "{boot:?}");
    }
}

#[test]
fn what_cannot_be_read_is_moved_aside_before_anything_takes_its_place() {
    let newer = r#"{"version": 2, "guest": "web", "all": "different"}"#;
    let others = r#"{"version": 1, "guest": "db", "boot": "", "wanted_up": true, "was_up": true}"#;
    for (bad, words) in [
        ("{", "does not hold what it should"),
        ("", "does not hold what it should"),
        (newer, "has the form 2; this version reads 1"),
        (others, "is that of db"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("guests");
        fs::create_dir(&folder).unwrap();
        for file in ["web.json", "web.json.bad"] {
            fs::write(folder.join(file), bad).unwrap();
        }
        let found = check(dir.path());
        assert!(found[0].to_string().contains(words), "{found:?}");
        let mut daemon = one(dir.path());
        assert_eq!(fs::read_to_string(folder.join("web.json")).unwrap(), bad, "as long as nothing is new");
        daemon.hold("web", "disk full");
        daemon.written();
        assert_eq!(fs::read_to_string(folder.join("web.json.bad.2")).unwrap(), bad);
        assert!(one(dir.path()).held("web").is_some() && check(dir.path()).is_empty());
    }
}

#[test]
fn a_folder_that_is_none_is_told_of_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("guests"), "a file").unwrap();
    let mut daemon = one(dir.path());
    daemon.hold("web", "disk full");
    daemon.written();
    let trouble = daemon.store.trouble().unwrap();
    assert!(trouble.contains("guests is no folder; refusing to use it"), "{trouble}");
    fs::remove_file(dir.path().join("guests")).unwrap();
    daemon.hold("web", "disk still full");
    daemon.written();
    assert_eq!(daemon.store.trouble(), None);
    assert_eq!(one(dir.path()).held("web").map(|hold| &*hold.reason), Some("disk still full"));
}

#[test]
fn where_a_file_cannot_be_moved_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("guests/web.json");
    // A folder in the place of the file cannot be replaced by one.
    fs::create_dir_all(file.join("below")).unwrap();
    let mut daemon = one(dir.path());
    daemon.hold("web", "disk full");
    daemon.written();
    assert!(dir.path().join("guests/web.json.bad/below").is_dir());
    assert_eq!(daemon.store.trouble(), None);
}

#[test]
fn a_guest_that_is_gone_takes_its_file_with_it_unless_its_lxcpath_is_gone_too() {
    for is_mounted in [true, false] {
        let (dir, lxcpath) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if is_mounted {
            fs::create_dir(lxcpath.path().join("another")).unwrap();
        }
        let mut daemon = one(dir.path());
        daemon.fleet.define(Arc::new(guest(lxcpath.path(), "web")), now());
        daemon.hold("web", "disk full");
        daemon.fleet.undefine(&name("web"), now());
        daemon.settle();
        daemon.written();
        assert_eq!(dir.path().join("guests/web.json").exists(), !is_mounted);
        daemon.fleet.define(Arc::new(guest(lxcpath.path(), "web")), now());
        daemon.settle();
        assert_eq!(daemon.held("web").is_some(), !is_mounted, "mounted again, it is the same guest");
    }
}

#[test]
fn a_thousand_guests_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..1000).map(|n| format!("g{n}")).collect();
    let mut daemon = Daemon::begin(dir.path(), names.clone());
    for text in &names {
        let wish = HoldWish { reason: Some("all".into()), until: None };
        daemon.fleet.operate(Verb::Hold, &name(text), StopWait::Configured, wish, now()).unwrap();
    }
    let began = Instant::now();
    daemon.settle();
    let handed_over = began.elapsed();
    daemon.written();
    println!("1000 guests: handed over in {handed_over:?}, written in {:?}", began.elapsed());
    assert!(handed_over < Duration::from_millis(500), "{handed_over:?}");
    assert_eq!(fs::read_dir(dir.path().join("guests")).unwrap().count(), 1000);
}
