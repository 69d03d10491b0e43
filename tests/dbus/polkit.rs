//! With a real polkitd: a rule tells guests apart by their groups.

use std::time::Duration;

use futures_util::StreamExt;
use guestd::{dbus::proxy::ManagerProxy, helper::wire::Event, model::Verb};
use tokio::time::timeout;
use zbus::connection::Builder;

use crate::{
    bus::Polkit,
    host::{Host, NOBODY, answer, refusal},
    manager::{Asked, name},
};

/// polkitd is up within this time.
const DEADLINE: Duration = Duration::from_secs(20);

/// nobody may reboot and restart what is in the group web.
const RULES: &str = r#"
polkit.addRule(function (action, subject) {
    if (action.id != "org.guestd1.reboot" || subject.user != "nobody")
        return polkit.Result.NOT_HANDLED;
    var groups = (action.lookup("groups") || "").split(",");
    return groups.indexOf("web") >= 0 ? polkit.Result.YES : polkit.Result.NO;
});
"#;

#[tokio::test]
async fn a_rule_tells_guests_apart_by_their_groups() {
    let host = Host::start().await;
    host.manager.change("web-1", |web| web.requires = [].into());
    let client = Builder::address(host.bus.address().as_str()).build().await.unwrap();
    let manager = ManagerProxy::new(&client).await.unwrap();
    let mut word = manager.receive_authorization_changed().await;
    let _polkit = Polkit::start(&host.bus, RULES);
    let appears = async { while word.next().await.unwrap().get().await.unwrap() != "polkit" {} };
    timeout(DEADLINE, appears).await.expect("polkitd is on the bus");

    answer(&host.call(NOBODY, &["Restart", "sa{sv}", "web-1", "0"]).await);
    answer(&host.call(NOBODY, &["Autostart", "sasa{sv}", "reboot", "1", "web", "0"]).await);
    let asked = host.manager.asked();
    assert_eq!(
        asked[0],
        Asked::Operate(Verb::Restart, name("web-1"), Default::default(), Default::default())
    );
    assert_eq!(asked.len(), 2);

    let text = refusal(&host.call(NOBODY, &["Restart", "sa{sv}", "db", "0"]).await);
    assert!(text.contains("guest db: not authorised for org.guestd1.reboot: polkit refused it"), "{text}");
    // One guest that is refused refuses all of them.
    let text = refusal(&host.call(NOBODY, &["Autostart", "sasa{sv}", "reboot", "0", "0"]).await);
    assert!(text.contains("guest db: not authorised for org.guestd1.reboot"), "{text}");
    // What no rule handles is the default: an administrator's password.
    for (arguments, action) in [
        (&["Start", "sa{sv}", "web-1", "0"][..], "start"),
        (&["Kill", "sa{sv}", "web-1", "0"], "stop"),
        (&["Thaw", "sa{sv}", "web-1", "0"], "freeze"),
        (&["Hold", "sa{sv}", "web-1", "0"], "manage"),
        (&["Report", "ss", "web-1", "reboot"], "helper"),
        (&["Reload"], "reload"),
    ] {
        let text = refusal(&host.call(NOBODY, arguments).await);
        assert!(text.contains(&format!("org.guestd1.{action}: it needs a password")), "{text}");
    }
    assert_eq!(host.manager.asked(), []);
    answer(&host.call(0, &["Kill", "sa{sv}", "db", "0"]).await);

    // A job is cancelled with the right to do what it does to its guests.
    let cancel = ["call", "org.guestd1", "/org/guestd1/job/1", "org.guestd1.Job", "Cancel"];
    let text = refusal(&host.busctl(NOBODY, &cancel).await);
    assert!(text.contains("guest db: not authorised for org.guestd1.reboot"), "{text}");
    answer(&host.busctl(0, &cancel).await);
}

#[tokio::test]
async fn root_reports_what_a_guest_asked_for_itself() {
    let host = Host::start().await;
    let said = answer(&host.call(0, &["Report", "ss", "db", "restart"]).await);
    assert_eq!(said.trim(), "ss \"restart\" \"reboots are carried out\"");
    assert_eq!(host.manager.asked().last(), Some(&Asked::Helper(name("db"), Event::Reboot)));
    let text = refusal(&host.call(0, &["Report", "ss", "db", "sleep"]).await);
    assert!(text.contains("event \"sleep\" is unknown; known: reboot, halt, poweroff, stop"), "{text}");
}
