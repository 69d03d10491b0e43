//! From a guest's own reboot(2) to the first instruction of its new init.

use std::{fs, time::Duration};

use crate::{
    ground::{Natives, Root, equip},
    host::{self, Host},
    measured::Bench,
    report::Report,
};

const ROUNDS: u64 = 60;

pub fn measure(report: &mut Report) {
    let natives = Natives::named(2);
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    let plain = lxc(&theirs, "plain");
    let hooked = lxc(&ours.host, "hooked");
    let [shared, separate] = [("shared", false), ("separate", true)]
        .map(|(name, users)| (Root::make(ours.host.at(name), 0), users));
    for ((root, users), name) in [&shared, &separate].into_iter().zip(&natives.0) {
        let path = root.path.display();
        let guest = format!(
            "engine = \"native\"\nroot = \"{path}\"\ninit = [\"/init\", \"reboot\"]\nuser-namespace = {users}\n"
        );
        fs::write(ours.host.at(format!("etc/guests/{name}.toml")), guest).expect("a guest");
    }
    ours.host.start_daemon_with(&[("GUESTD_GUEST_RUN", env!("CARGO_BIN_EXE_guest-run"))]);
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

/// A container whose init reboots at a word, in a root that it shares with nobody.
fn lxc(host: &Host, name: &str) -> Root {
    host.guest(name, &["lxc.init.cmd = /init reboot"]);
    let root = host.lxcpath().join(".root");
    equip(&root);
    Root::of(root)
}
