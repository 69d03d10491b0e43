//! Over a connection of its own between two peers: every method, every error, and exactly the signals that are due.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use guestd::{
    daemon::handle::StopWait,
    dbus::{self, errors::Error},
    model::{Hold, HoldWish, JobId, JobState, Outcome, Timestamp, Verb, status::PhaseWord},
};
use tokio::time::timeout;
use zbus::{MessageStream, Variant, message::Type};

use crate::{
    manager::{Asked, Manager, guest, name},
    pair::Pair,
};

fn held(reason: &str) -> Hold {
    Hold { reason: reason.into(), since: Timestamp(1), until: Some(Timestamp(9)) }
}

/// A signal that does not come is not waited for longer than this.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a client is told.
struct Signals(MessageStream);

impl Signals {
    /// Everything that is signalled from now on: what came before is here when a call is answered.
    async fn of(pair: &Pair) -> Self {
        pair.proxy().await.list_jobs().await.unwrap();
        Self(MessageStream::from(&pair.client))
    }

    /// The next signal, as `PATH MEMBER BODY`; what changed is sorted by name.
    async fn next(&mut self) -> String {
        loop {
            let message = timeout(DEADLINE, self.0.next()).await.expect("a signal").unwrap().unwrap();
            if message.message_type() == Type::Signal {
                return shown(&message);
            }
        }
    }
}

fn shown(message: &zbus::Message) -> String {
    let header = message.header();
    let (path, member) = (header.path().unwrap(), header.member().unwrap());
    let body = message.body();
    if member == "PropertiesChanged" {
        let (interface, changed, gone): (String, HashMap<String, Variant<'_>>, Vec<String>) =
            body.deserialize().unwrap();
        assert!(gone.is_empty(), "values are included: {gone:?}");
        let mut changed: Vec<_> = changed.iter().map(|(name, value)| format!("{name}={value}")).collect();
        changed.sort();
        return format!("{path} {interface} {}", changed.join(" "));
    }
    let object: String = match member.as_str() {
        "InterfacesAdded" => {
            let (object, added): (zbus::OwnedObjectPath, HashMap<String, HashMap<String, Variant<'_>>>) =
                body.deserialize().unwrap();
            format!("{object} {:?}", added.keys().collect::<Vec<_>>())
        }
        _ => {
            let (object, removed): (zbus::OwnedObjectPath, Vec<String>) = body.deserialize().unwrap();
            format!("{object} {removed:?}")
        }
    };
    format!("{path} {member} {object}")
}

fn none() -> HashMap<&'static str, Variant<'static>> {
    HashMap::new()
}

#[tokio::test]
async fn every_verb_reaches_the_manager_by_name_and_by_object() {
    let pair = Pair::root().await;
    let (manager, web) = (pair.proxy().await, pair.guest("/org/guestd1/guest/web_2d1").await);
    let none = none();
    let mut jobs = Vec::new();
    macro_rules! both {
        ($($method:ident $verb:ident),*) => {$(
            jobs.push(manager.$method("web-1", &none).await.unwrap());
            jobs.push(web.$method(&none).await.unwrap());
            let wanted = Asked::Operate(Verb::$verb, name("web-1"), StopWait::Configured, HoldWish::default());
            assert_eq!(pair.manager.asked(), [wanted.clone(), wanted]);
        )*};
    }
    both!(start Start, stop Stop, restart Restart, reboot Reboot, kill Kill, freeze Freeze, thaw Thaw, reset Reset,
        hold Hold, release Release);
    assert_eq!(jobs.first().unwrap().as_str(), "/org/guestd1/job/1");
    assert_eq!(jobs.last().unwrap().as_str(), "/org/guestd1/job/20");
    assert_eq!(manager.list_jobs().await.unwrap().len(), 20);

    let until = ("until", Variant::from(9u64));
    let options = HashMap::from([("timeout", Variant::from(7i32)), ("reason", "disk full".into()), until]);
    manager.hold("db", &options).await.unwrap();
    let wait = StopWait::AtMost(Duration::from_secs(7));
    assert_eq!(
        pair.manager.asked(),
        [Asked::Operate(
            Verb::Hold,
            name("db"),
            wait,
            HoldWish { reason: Some("disk full".into()), until: Some(Timestamp(9)) }
        )]
    );
}

#[tokio::test]
async fn bulk_requests_and_plans_carry_their_options() {
    let pair = Pair::root().await;
    let manager = pair.proxy().await;
    let options = HashMap::from([("all", Variant::from(true)), ("timeout", (-1i32).into())]);
    let job = manager.autostart("shutdown", &["", "web"], &options).await.unwrap();
    assert_eq!(job.as_str(), "/org/guestd1/job/1");
    let asked = "shutdown Selection { groups: [None, Some(\"web\")], all: true, ignore_auto: false, lxcpath: None, \
                 boot: false } Forever";
    assert_eq!(pair.manager.asked(), [Asked::Autostart(asked.into())]);

    let steps = manager.plan("start", &["web"], &none()).await.unwrap();
    assert_eq!(steps, [(1, "web-1".to_owned(), 5_000_000, "order 100".to_owned())]);
    let refused = manager.refusals("start", &["web"], &none()).await.unwrap();
    assert_eq!(refused, [("knot".to_owned(), "it is in a cycle".to_owned())]);
}

#[tokio::test]
async fn what_is_read_agrees_in_all_forms() {
    let pair = Pair::root().await;
    let manager = pair.proxy().await;
    let guests = manager.list_guests().await.unwrap();
    let guests: Vec<_> = guests.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(guests, [("db", "/org/guestd1/guest/db"), ("web-1", "/org/guestd1/guest/web_2d1")]);
    assert_eq!(manager.get_guest("web-1").await.unwrap().as_str(), "/org/guestd1/guest/web_2d1");
    assert_eq!(manager.authorization().await.unwrap(), "root-only");
    assert_eq!(manager.lxc_paths().await.unwrap(), ["/srv/lxc"]);
    assert_eq!(manager.guests_total().await.unwrap(), 2);
    let row = ("warning".into(), "db".into(), "/srv/lxc/db/config".into(), 3, "odd".into());
    assert_eq!(manager.diagnostics().await.unwrap(), [row]);

    let host: serde_json::Value = serde_json::from_str(&manager.describe().await.unwrap()).unwrap();
    assert_eq!(host["guests"][1]["name"], "web-1");
    assert_eq!(host["daemon"]["authorization"], "root-only");
    let web = pair.guest("/org/guestd1/guest/web_2d1").await;
    let details: serde_json::Value = serde_json::from_str(&web.describe().await.unwrap()).unwrap();
    assert_eq!(details["groups"], serde_json::json!(["web"]));
    assert_eq!(details["adopted"], false);

    let om = zbus::fdo::ObjectManagerProxy::new(&pair.client, "org.guestd1", "/org/guestd1").await.unwrap();
    let managed = om.get_managed_objects().await.unwrap();
    let web = &managed[&zbus::OwnedObjectPath::try_from("/org/guestd1/guest/web_2d1").unwrap()];
    let delay = &web["org.guestd1.Guest"]["Delay"];
    assert_eq!(**delay, Variant::U64(5_000_000));
}

#[tokio::test]
async fn every_error_has_its_name() {
    let pair = Pair::root().await;
    pair.manager.change("db", |db| db.held = Some(held("it is held: disk full")));
    let manager = pair.proxy().await;
    let none = none();
    let is = |error: Error, wanted: fn(String) -> Error, part: &str| {
        let text = error.to_string();
        assert_eq!(error, wanted(text.clone()));
        assert!(text.contains(part), "{text}");
    };
    let long = "n".repeat(300);
    is(manager.start("nix", &none).await.unwrap_err(), Error::NoSuchGuest, "\"nix\"");
    is(manager.start(&long, &none).await.unwrap_err(), Error::NoSuchGuest, "nnn…");
    is(manager.get_guest("../x").await.unwrap_err(), Error::NoSuchGuest, "\"../x\"");
    is(manager.start("db", &none).await.unwrap_err(), Error::Refused, "guest db: it is held: disk full");
    let wrong = HashMap::from([("tiemout", Variant::from(1i32))]);
    is(manager.stop("db", &wrong).await.unwrap_err(), Error::InvalidArgument, "\"tiemout\"");
    let wrong = HashMap::from([("boot", Variant::from("yes"))]);
    is(manager.autostart("start", &[], &wrong).await.unwrap_err(), Error::InvalidArgument, "\"boot\"");
    is(manager.plan("begin", &[], &none).await.unwrap_err(), Error::InvalidArgument, "\"begin\"");
    is(manager.autostart("start", &["a/b"], &none).await.unwrap_err(), Error::InvalidArgument, "a/b");
    let foreign = HashMap::from([("lxcpath", Variant::from("/elsewhere"))]);
    is(manager.autostart("start", &[], &foreign).await.unwrap_err(), Error::NotManaged, "/elsewhere");
    let gone = pair.job(99).await.cancel().await.unwrap_err();
    assert!(matches!(gone, Error::Bus(zbus::Error::FDO(_))), "{gone:?}");
}

#[tokio::test]
async fn a_manager_that_is_gone_is_stopping() {
    let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
    drop(inbox);
    let mut manager = Manager::of([guest("db", &[])]);
    let seen = manager.handle.subscribe();
    manager.handle = guestd::daemon::handle::Handle::new(commands, seen);
    let pair = Pair::of(manager, 0).await;
    let error = pair.proxy().await.start("db", &none()).await.unwrap_err();
    assert_eq!(error, Error::Stopping("guestd is stopping".into()));
}

#[tokio::test]
async fn without_polkit_only_root_acts() {
    let pair = Pair::of(Manager::of([guest("db", &[])]), 65534).await;
    let manager = pair.proxy().await;
    assert_eq!(manager.list_guests().await.unwrap().len(), 1);
    assert_eq!(manager.plan("start", &[], &none()).await.unwrap().len(), 1);
    for (error, action) in [
        (manager.start("db", &none()).await.unwrap_err(), "org.guestd1.start"),
        (manager.kill("db", &none()).await.unwrap_err(), "org.guestd1.stop"),
        (manager.restart("db", &none()).await.unwrap_err(), "org.guestd1.reboot"),
        (manager.thaw("db", &none()).await.unwrap_err(), "org.guestd1.freeze"),
        (manager.hold("db", &none()).await.unwrap_err(), "org.guestd1.manage"),
        (manager.autostart("shutdown", &[], &none()).await.unwrap_err(), "org.guestd1.stop"),
        (manager.reload().await.unwrap_err(), "org.guestd1.reload"),
    ] {
        let text = error.to_string();
        assert_eq!(error, Error::NotAuthorized(text.clone()));
        assert!(text.contains(action) && text.contains("only root may act"), "{text}");
    }
    assert_eq!(pair.manager.asked(), []);
}

#[tokio::test]
async fn exactly_what_changed_is_signalled() {
    let pair = Pair::root().await;
    let mut signals = Signals::of(&pair).await;
    pair.manager.change("web-1", |web| {
        web.phase = PhaseWord::Up;
        web.init_pid = Some(4711);
        web.since = Some(Timestamp(5));
    });
    assert_eq!(
        signals.next().await,
        "/org/guestd1/guest/web_2d1 org.guestd1.Guest InitPid=4711 Phase=\"up\" Since=uint64 5"
    );
    assert_eq!(signals.next().await, "/org/guestd1 org.guestd1.Manager GuestsUp=uint32 1");
    // What a guest says is sent without what a bus cannot carry.
    pair.manager.change("web-1", |web| web.reason = "a\0b".into());
    assert_eq!(signals.next().await, "/org/guestd1/guest/web_2d1 org.guestd1.Guest Reason=\"a\u{fffd}b\"");
    // The same again is no news: the next signal is about the change after it.
    pair.manager.change("web-1", |_| {});
    pair.manager.change("db", |db| db.held = Some(held("backup")));
    assert_eq!(
        signals.next().await,
        "/org/guestd1/guest/db org.guestd1.Guest Held=\"backup\" HeldUntil=uint64 9"
    );
}

#[tokio::test]
async fn guests_come_and_go_with_their_objects() {
    let pair = Pair::root().await;
    let mut signals = Signals::of(&pair).await;
    pair.manager.publish(|snapshot| {
        snapshot.guests.insert(name("new"), Arc::new(guest("new", &[])));
        snapshot.guests.remove("db");
    });
    let removed = "/org/guestd1 InterfacesRemoved /org/guestd1/guest/db [\"org.guestd1.Guest\"]";
    assert_eq!(signals.next().await, removed);
    let added = "/org/guestd1 InterfacesAdded /org/guestd1/guest/new [\"org.guestd1.Guest\"]";
    assert_eq!(signals.next().await, added);
    assert!(pair.guest("/org/guestd1/guest/db").await.phase().await.is_err());
    assert_eq!(pair.guest("/org/guestd1/guest/new").await.phase().await.unwrap(), "down");

    // What a reload found is there when the call returns.
    pair.proxy().await.reload().await.unwrap();
    assert_eq!(pair.guest("/org/guestd1/guest/reloaded").await.name().await.unwrap(), "reloaded");
    assert_eq!(pair.manager.asked(), [Asked::Reload]);
}

#[tokio::test]
async fn a_job_tells_its_story_and_is_forgotten() {
    let pair = Pair::root().await;
    let mut signals = Signals::of(&pair).await;
    let path = pair.proxy().await.start("db", &none()).await.unwrap();
    assert_eq!(path.as_str(), "/org/guestd1/job/1");
    let job = pair.job(1).await;
    assert_eq!((job.id().await.unwrap(), job.verb().await.unwrap().as_str()), (1, "start"));
    let added = "/org/guestd1 InterfacesAdded /org/guestd1/job/1 [\"org.guestd1.Job\"]";
    assert_eq!(signals.next().await, added);

    pair.manager.publish(|snapshot| {
        let job = Arc::make_mut(snapshot.jobs.get_mut(&JobId(1)).unwrap());
        job.state = JobState::Failed;
        job.done = 1;
        job.status.clear();
        job.results.insert(name("db"), Outcome::Failed("no rootfs".into()));
        job.ended = Some(Timestamp(9));
    });
    assert_eq!(
        signals.next().await,
        "/org/guestd1/job/1 org.guestd1.Job Ended=uint64 9 Progress=(uint32 1, uint32 1) \
         Results={\"db\": \"failed: no rootfs\"} State=\"failed\" Status=\"\""
    );
    assert_eq!(job.results().await.unwrap()["db"], "failed: no rootfs");
    job.cancel().await.unwrap();
    assert_eq!(pair.manager.asked().last(), Some(&Asked::Cancel(JobId(1))));

    pair.manager.publish(|snapshot| snapshot.jobs.clear());
    let removed = "/org/guestd1 InterfacesRemoved /org/guestd1/job/1 [\"org.guestd1.Job\"]";
    assert_eq!(signals.next().await, removed);
}

#[tokio::test]
async fn a_lost_connection_is_reported() {
    let pair = Pair::root().await;
    pair.client.close().await.unwrap();
    let lost = timeout(DEADLINE, pair.service.lost()).await.expect("the loss is noticed");
    assert!(matches!(lost, dbus::DbusError::Lost));
}
