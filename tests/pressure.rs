//! A host that is hard pressed for memory: what is to be started waits, and everybody can see for what.

mod host;

use std::fs;

use host::Host;

fn press(host: &Host, share: &str) {
    let text = format!("some avg10={share} avg60=0.00 avg300=0.00 total=0\n");
    // In one piece: the daemon may look at any moment.
    fs::write(host.at("pressure/new"), text).expect("a file");
    fs::rename(host.at("pressure/new"), host.at("pressure/memory")).expect("in its place");
}

#[test]
fn starts_wait_while_the_host_is_hard_pressed_and_say_so() {
    let host = Host::running("[pressure]\nmemory = 30\n");
    for name in ["db", "web"] {
        host.guest(name, &["lxc.start.auto = 1"]);
    }
    press(&host, "57.25");
    host.guestctl_ok(&["start", "web", "--no-block"]);
    let words = "the host's memory pressure to fall to 30 %";
    let told = format!("{words} (it is 58 %)");
    host.until("web", "waiting", |status| {
        status["phase"] == "waiting" && status["reason"] == format!("waits for {words}")
    });
    host.notified(&format!("waiting for {told}"));
    assert!(host.guestctl_ok(&["status"]).contains(&format!("wait for {told}")));
    assert!(host.guestctl_ok(&["jobs"]).contains(&format!("waiting for {told}")));
    assert!(host.guestctl_ok(&["list"]).contains(&format!("waits for {words}")));
    assert!(host.log().contains(&format!("guests that are to be started wait for {told}")), "{}", host.log());
    // What runs is not touched, and what is stopped is stopped.
    host.guestctl_ok(&["stop", "db"]);

    press(&host, "30.00");
    host.until_phase("web", "up");
    assert!(!host.guestctl_ok(&["status"]).contains("pressure"));
    press(&host, "99.00");
    host.guestctl_ok(&["restart", "web"]);
}

#[test]
fn without_such_files_nothing_waits() {
    let host = Host::running("[pressure]\nmemory = 1\nio = 1\n");
    host.guest("web", &[]);
    host.guestctl_ok(&["start", "web"]);
    fs::write(host.at("pressure/memory"), "some nonsense\n").expect("a file");
    host.guestctl_ok(&["kill", "web"]);
    host.guestctl_ok(&["start", "web"]);
}
