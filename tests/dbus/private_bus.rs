//! On a private bus with the shipped policy: root acts, everybody reads, and polkit is asked in the right words.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use guestd::{
    dbus::{self, Callers, DbusError, proxy::ManagerProxy},
    model::Verb,
};
use tokio::time::timeout;
use zbus::{Connection, connection::Builder};

use crate::{
    bus::Bus,
    host::{Host, NOBODY, answer, refusal, serve},
    manager::{Asked, Manager, name},
};

/// What does not happen within this time does not happen.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn root_acts() {
    let host = Host::start().await;
    let job = host.call(0, &["Start", "sa{sv}", "db", "1", "timeout", "i", "5"]).await;
    assert_eq!(answer(&job), "o \"/org/guestd1/job/1\"");
    let job = host.call(0, &["Autostart", "sasa{sv}", "shutdown", "1", "", "1", "all", "b", "true"]).await;
    assert_eq!(answer(&job), "o \"/org/guestd1/job/2\"");
    assert_eq!(host.manager.asked().len(), 2);
}

#[tokio::test]
async fn nobody_reads_and_does_not_act_where_no_polkit_answers() {
    let host = Host::start().await;
    let list = host.call(NOBODY, &["ListGuests"]).await;
    assert_eq!(
        answer(&list),
        "a(so) 2 \"db\" \"/org/guestd1/guest/db\" \"web-1\" \"/org/guestd1/guest/web_2d1\""
    );
    assert!(answer(&host.call(NOBODY, &["Describe"]).await).contains("root-only"));
    assert!(answer(&host.call(NOBODY, &["Plan", "sasa{sv}", "start", "0", "0"]).await).contains("order 100"));
    let property = ["get-property", "org.guestd1", "/org/guestd1/guest/db", "org.guestd1.Guest", "Phase"];
    assert_eq!(answer(&host.busctl(NOBODY, &property).await), "s \"down\"");
    for (arguments, action) in [
        (&["Start", "sa{sv}", "db", "0"][..], "org.guestd1.start"),
        (&["Stop", "sa{sv}", "db", "0"], "org.guestd1.stop"),
        (&["Autostart", "sasa{sv}", "reboot", "0", "0"], "org.guestd1.reboot"),
        (&["Reload"], "org.guestd1.reload"),
    ] {
        let text = refusal(&host.call(NOBODY, arguments).await);
        assert!(text.contains(action) && text.contains("only root may act"), "{text}");
    }
    assert_eq!(host.manager.asked(), []);
}

#[tokio::test]
async fn nobody_may_not_take_the_name() {
    let bus = Bus::start();
    let take =
        ["call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName"];
    let output = bus.busctl(NOBODY, &[&take[..], &["su", "org.guestd1", "0"]].concat());
    assert!(refusal(&output).contains("Access denied"), "{output:?}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_an_error() {
    let host = Host::start().await;
    let second = serve(&host.bus, &host.manager).await.unwrap_err();
    assert!(matches!(second, DbusError::NameTaken { name: "org.guestd1" }), "{second:?}");
    // The first one still answers, and its name is free once it is gone.
    assert!(answer(&host.call(NOBODY, &["ListJobs"]).await).starts_with("a(uo)"));
    let Host { bus, manager, service } = host;
    service.connection().clone().close().await.unwrap();
    drop(service);
    let again = async {
        while let Err(error) = serve(&bus, &manager).await {
            assert!(matches!(error, DbusError::NameTaken { .. }), "{error:?}");
        }
    };
    timeout(DEADLINE, again).await.expect("the name becomes free");
}

#[tokio::test]
async fn a_bus_that_is_not_there_is_an_error() {
    let manager = Manager::of([]);
    let builder = Builder::address("unix:path=/nonexistent/guestd-test");
    let error = dbus::serve(builder, manager.handle.clone(), Callers::OnBus).await.unwrap_err();
    assert!(matches!(error, DbusError::Connect { .. }), "{error:?}");
}

/// What the stand-in for polkit was asked: action, guest, groups, interactive.
type Question = (String, String, String, bool);

/// A polkit that lets everybody start, challenges every stop, and refuses the rest.
struct StandIn(Arc<Mutex<Vec<Question>>>);

/// The answer of CheckAuthorization: authorised, challenge, details.
type Verdict = (bool, bool, HashMap<String, String>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl StandIn {
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, zbus::OwnedVariant>),
        action: String,
        details: HashMap<String, String>,
        flags: u32,
        _cancellation: String,
    ) -> (Verdict,) {
        assert_eq!(subject.0, "system-bus-name");
        let detail = |key: &str| details.get(key).cloned().unwrap_or_default();
        let verdict = (action == "org.guestd1.start", action == "org.guestd1.stop", HashMap::new());
        self.0.lock().unwrap().push((action, detail("guest"), detail("groups"), flags == 1));
        (verdict,)
    }
}

/// Puts the stand-in on the bus.
async fn stand_in(host: &Host) -> (Connection, Arc<Mutex<Vec<Question>>>) {
    let questions = Arc::default();
    let polkit = Builder::address(host.bus.address().as_str())
        .serve_at("/org/freedesktop/PolicyKit1/Authority", StandIn(Arc::clone(&questions)))
        .name("org.freedesktop.PolicyKit1")
        .build();
    (polkit.await.unwrap(), questions)
}

#[tokio::test]
async fn polkit_is_noticed_when_it_comes_and_when_it_goes() {
    let host = Host::start().await;
    let client = Builder::address(host.bus.address().as_str()).build().await.unwrap();
    let manager = ManagerProxy::new(&client).await.unwrap();
    let mut word = manager.receive_authorization_changed().await;
    let mut becomes = async |wanted: &str| {
        while word.next().await.unwrap().get().await.unwrap() != wanted {}
    };
    timeout(DEADLINE, becomes("root-only")).await.expect("there is none yet");
    let (polkit, _) = stand_in(&host).await;
    timeout(DEADLINE, becomes("polkit")).await.expect("polkit is noticed");
    polkit.close().await.unwrap();
    timeout(DEADLINE, becomes("root-only")).await.expect("its end is noticed");
}

#[tokio::test]
async fn polkit_is_asked_about_each_guest_in_the_right_words() {
    let host = Host::start().await;
    let (_polkit, questions) = stand_in(&host).await;
    let asked = || std::mem::take(&mut *questions.lock().unwrap());
    let question =
        |guest: &str, groups: &str| ("org.guestd1.start".into(), guest.into(), groups.into(), true);

    answer(&host.call(0, &["Reload"]).await);
    assert_eq!(asked(), []);
    answer(&host.call(NOBODY, &["Start", "sa{sv}", "web-1", "0"]).await);
    assert_eq!(asked(), [question("web-1", "web"), question("db", "data,backup")]);
    let verbs =
        [Asked::Reload, Asked::Operate(Verb::Start, name("web-1"), Default::default(), Default::default())];
    assert_eq!(host.manager.asked(), verbs);
    answer(&host.call(NOBODY, &["Autostart", "sasa{sv}", "start", "1", "web", "0"]).await);
    assert_eq!(asked(), [question("web-1", "web")]);
    assert_eq!(host.manager.asked().len(), 1);
}

#[tokio::test]
async fn a_refusal_names_the_guest_the_action_and_what_would_help() {
    let host = Host::start().await;
    let (_polkit, _) = stand_in(&host).await;
    let refused = "guest db: not authorised for org.guestd1.";
    for (arguments, part) in [
        (&["Stop", "sa{sv}", "db", "0"][..], "stop: it needs a password, and no polkit agent asked"),
        (
            &["Stop", "sa{sv}", "db", "0", "--allow-interactive-authorization=no"],
            "stop: it needs a password, and the call did not allow to ask",
        ),
        (&["Freeze", "sa{sv}", "db", "0"], "freeze: polkit refused it"),
        (&["Autostart", "sasa{sv}", "reboot", "0", "0"], "reboot: polkit refused it"),
    ] {
        let text = refusal(&host.call(NOBODY, arguments).await);
        assert!(text.contains(&format!("{refused}{part}")), "{text}");
    }
    assert_eq!(host.manager.asked(), []);
}
