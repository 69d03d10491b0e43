//! From a guest's own reboot(2), or the death of its init, to the first instruction of its new init.

use std::{fs, time::Duration};

use guestd::model::GuestName;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    MONITOR,
    ground::{Natives, Root, equip, milliseconds, now},
    host::{self, Host},
    measured::Bench,
    report::Report,
};

const ROUNDS: u64 = 60;
const CRASHES: usize = 40;

pub fn measure(report: &mut Report) {
    let natives = Natives::named(2);
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    let plain = lxc(&theirs, "plain");
    let hooked = lxc(&ours.host, "hooked");
    let [shared, separate] = [("shared", false), ("separate", true)]
        .map(|(name, users)| (Root::make(ours.host.at(name), 0), users));
    for ((root, users), name) in [&shared, &separate].into_iter().zip(&natives.0) {
        native(&ours.host, name, root, *users);
    }
    ours.host.start_daemon_with(&[("GUESTD_GUEST_RUN", MONITOR)]);
    for name in natives.0.iter().map(|name| name.as_str()).chain(["hooked"]) {
        ours.host.guestctl_ok(&["start", name]);
    }
    assert!(theirs.lxc("lxc-start", "plain").status().expect("lxc-start").success());
    let all = [&shared.0, &separate.0, &hooked, &plain];
    for root in all {
        root.hear('u');
    }
    let mut took = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        for (root, took) in all.iter().zip(&mut took) {
            took.push(root.reboot());
            // What is still done about this one is not to weigh on the next one. The pauses differ, lest one side always
            // meets the same beat of the kernel's.
            std::thread::sleep(Duration::from_millis(20 + round * 7 % 13));
        }
    }
    // A helper that fails would be measured too, were it not for this.
    host::wait_for("the daemon to have decided all of them", || {
        let count = ours.host.log().matches("decision: restart").count() as u64;
        (count == 3 * ROUNDS).then_some(())
    });
    let [shared, separate, hooked, plain] = &mut took;
    report.ratio("reboot(2) inside, to the new init (`lxc-start` alone)", shared, plain, (1.0, "1"));
    report.aim("the same (`lxc-start` with guestd's hook)", shared, hooked, (0.5, "0.5"));
    report.ratio("the same, users of its own (`lxc-start` alone)", separate, plain, (1.0, "1"));
    for name in &natives.0 {
        ours.host.guestctl_ok(&["kill", name.as_str()]);
    }
}

/// From the death of an init to the next one, beside a plain `lxc-start`.
pub fn crashes(report: &mut Report) {
    let natives = Natives::named(1);
    let name = &natives.0[0];
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    ours.host.settings("[defaults.restart]\ndelay = 0\nlimit = \"100000/1s\"\n");
    let (our, their) = (Root::make(ours.host.at("root"), 0), lxc(&theirs, "theirs"));
    native(&ours.host, name, &our, true);
    ours.host.start_daemon_with(&[("GUESTD_GUEST_RUN", MONITOR)]);
    ours.host.guestctl_ok(&["start", name.as_str()]);
    our.hear('u');
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..CRASHES {
        let init = ours.host.until_phase(name.as_str(), "up")["init_pid"].as_i64().expect("an init");
        let began = now();
        kill(Pid::from_raw(init.try_into().expect("a number")), Signal::SIGKILL).expect("a kill");
        took[0].push(milliseconds(our.hear('u') - began));
        let began = now();
        assert!(theirs.lxc("lxc-start", "theirs").status().expect("lxc-start").success());
        took[1].push(milliseconds(their.hear('u') - began));
        assert!(theirs.lxc("lxc-stop", "theirs").arg("-k").status().expect("lxc-stop").success());
    }
    let [ours_took, theirs_took] = &mut took;
    report.ratio("a killed init to the next one (`lxc-start`)", ours_took, theirs_took, (2.0, "2"));
    ours.host.guestctl_ok(&["kill", name.as_str()]);
}

/// Defines a native guest whose init reboots at a word.
fn native(host: &Host, name: &GuestName, root: &Root, users: bool) {
    let path = root.path.display();
    let guest = format!(
        "engine = \"native\"\nroot = \"{path}\"\ninit = [\"/init\", \"reboot\"]\nuser-namespace = {users}\n"
    );
    fs::write(host.at(format!("etc/guests/{name}.toml")), guest).expect("a guest");
}

/// A container whose init reboots at a word, in a root that it shares with nobody.
fn lxc(host: &Host, name: &str) -> Root {
    host.guest(name, &["lxc.init.cmd = /init reboot"]);
    let root = host.lxcpath().join(".root");
    equip(&root);
    Root::of(root)
}
