//! Dependencies that cannot be kept.

use std::fs;

use super::{Stage, bus, host, host::wait_for, is_told, nothing_else_is_affected, out, told, write};

/// Beside the good guest: `a` and `b` are in a ring, and `c` requires a guest that does not exist.
struct Knotted {
    stage: Stage,
    a: String,
    b: String,
    c: String,
}

fn knotted() -> Knotted {
    let mut stage = host();
    let [a, b, c] = ["a", "b", "c"].map(|name| stage.named(name));
    for (name, overlay) in [
        (&a, format!("[start]\ndelay = 0\nrequires = [\"{b}\"]\n")),
        (&b, format!("[start]\nafter = [\"{a}\"]\n")),
        (&c, "[start]\nrequires = [\"nobody\"]\n".to_owned()),
    ] {
        stage.guest(name, &["lxc.start.auto = 1"]);
        write(&stage.at(format!("etc/guests/{name}.toml")), overlay);
    }
    stage.start_daemon();
    Knotted { stage, a, b, c }
}

#[test]
fn they_are_found_at_load() {
    let Knotted { stage: host, a, b, c } = knotted();
    let ring = format!("{a} → {b} → {a}");
    is_told(&host, &format!("etc/guests/{a}.toml:3"), &format!("the dependencies {ring} form a cycle"));
    let missing = format!("start.requires of {c} names nobody, and no guest has that name");
    is_told(&host, &format!("etc/guests/{c}.toml:2"), &missing);
    let check = host.guestctl(&["check"]);
    assert!(out(&check).ends_with("2 errors, 0 warnings in 4 guests\n"), "{}", out(&check));
    assert_eq!(bus::diagnostics(&host).len(), 2, "each is said once");
    let reload = host.guestctl(&["reload"]);
    assert!(told(&reload).contains(&ring) && out(&reload).contains("2 findings"), "{reload:?}");
    nothing_else_is_affected(&host);
}

#[test]
fn they_come_and_go_with_a_change_of_one_guest() {
    let Knotted { stage: host, a, b, .. } = knotted();
    let cycle = || bus::diagnostics(&host).iter().any(|line| line.contains("form a cycle"));
    assert!(cycle());
    fs::write(host.at(format!("etc/guests/{b}.toml")), "").expect("an overlay");
    host.guestctl_ok(&["reload"]);
    assert!(!cycle());
    // The daemon watches the folder of a container: no reload is needed.
    let own = host.lxcpath().join(&b).join("guestd.toml");
    write(&own, format!("[start]\nafter = [\"{a}\"]\n"));
    wait_for("the ring", || cycle().then_some(()));
    fs::remove_file(&own).expect("it goes");
    wait_for("no ring", || (!cycle()).then_some(()));
    host.guestctl_ok(&["start", &a]);
}

#[test]
fn plans_and_jobs_name_them() {
    let Knotted { stage: host, a, b, c } = knotted();
    let refusals = [
        format!("{a}: it is in the dependency cycle {a} → {b} → {a}"),
        format!("{b}: it is in the dependency cycle"),
        format!("{c}: it requires nobody, which"),
    ];
    for (program, output) in [
        ("autostart", host.autostart(&["--plan", "-a"])),
        ("autostart", host.autostart(&["-L", "-a"])),
        ("autostart", host.autostart(&["--plan", "-a", "--json"])),
        ("guestctl", host.guestctl(&["plan", "-a"])),
    ] {
        assert_eq!(output.status.code(), Some(0));
        let said = told(&output);
        assert_eq!(said.lines().count(), 3, "{said}");
        for (line, refusal) in said.lines().zip(&refusals) {
            assert!(line.starts_with(&format!("{program}: {refusal}")), "{said}");
        }
        assert!(out(&output).contains("good"), "{}", out(&output));
    }
    let done = host.autostart(&["-a"]);
    assert_eq!(done.status.code(), Some(2), "{}", told(&done));
    for refusal in &refusals {
        assert!(told(&done).contains(&format!("autostart: {refusal}")), "{}", told(&done));
    }
    assert_eq!(host.in_phase("up"), [host.good.as_str()]);
    let start = host.guestctl(&["start", &a]);
    assert_eq!(start.status.code(), Some(1));
    assert!(told(&start).contains(&format!("{a} → {b} → {a}")), "{}", told(&start));
}
