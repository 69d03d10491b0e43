//! Files that break while the daemon and its guests run.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Host, Stage, bus, host, host::wait_for, is_told, nothing_else_is_affected, told, write};

/// A host where a guest runs, with an order from its config and a delay from its overlay.
fn running() -> (Stage, String) {
    let mut host = host();
    let web = host.named("web");
    host.guest(&web, &["lxc.start.order = 7"]);
    write(&host.at(format!("etc/guests/{web}.toml")), "[start]\ndelay = 5\n");
    host.start_daemon();
    host.guestctl_ok(&["start", &web]);
    (host, web)
}

/// Puts a file into the place of another one at one moment, as editors do.
fn replace(path: &Path, make: impl FnOnce(&Path)) {
    let new = path.with_extension("new");
    make(&new);
    fs::rename(&new, path).expect("a new file in its place");
}

#[track_caller]
fn settings_are_kept(host: &Host, name: &str, init_pid: &serde_json::Value) {
    let kept = |line: &str| line.contains(&format!("{name} keeps the settings that it had before"));
    wait_for("the diagnostic", || bus::diagnostics(host).iter().any(|line| kept(line)).then_some(()));
    assert!(host.log().lines().any(kept), "{}", host.log());
    let web = host.status(name);
    assert_eq!((&web["order"], &web["delay"]), (&7.into(), &5.into()), "{web:#}");
    assert_eq!((&web["phase"], &web["init_pid"]), (&"up".into(), init_pid), "{web:#}");
}

#[test]
fn an_overlay_that_breaks_leaves_the_old_settings() {
    let (host, web) = running();
    let file = format!("etc/guests/{web}.toml");
    let init_pid = host.status(&web)["init_pid"].clone();
    for (overlay, line, words) in [
        ("[start\ndelay = 9\n", 1, "not valid TOML"),
        ("[start]\ndelay = \"soon\"\norder = 1\n", 2, "start.delay must be"),
    ] {
        write(&host.at(&file), overlay);
        let reload = host.guestctl(&["reload"]);
        assert_eq!(reload.status.code(), Some(0));
        assert!(told(&reload).contains(words), "{}", told(&reload));
        assert!(told(&reload).contains(&format!("{web} keeps the settings")), "{}", told(&reload));
        is_told(&host, &format!("{file}:{line}"), words);
        settings_are_kept(&host, &web, &init_pid);
    }
    nothing_else_is_affected(&host);
    write(&host.at(&file), "[start]\ndelay = 9\norder = 1\n");
    assert_eq!(told(&host.guestctl(&["reload"])), "");
    let shown = host.status(&web);
    assert_eq!((&shown["order"], &shown["delay"]), (&1.into(), &9.into()));
}

#[test]
fn a_config_that_breaks_leaves_the_old_settings_and_the_guest_reboots_on() {
    let (host, web) = running();
    let config = host.lxcpath().join(&web).join("config");
    let good = fs::read_to_string(&config).expect("a config");
    let init_pid = host.status(&web)["init_pid"].clone();
    let bad = good.replace("lxc.start.order = 7", "lxc.start.order = abc");
    replace(&config, |new| fs::write(new, &bad).expect("a config"));
    settings_are_kept(&host, &web, &init_pid);
    let line = 1 + bad.lines().position(|line| line.ends_with("abc")).expect("the line");
    is_told(&host, &format!("lxc/{web}/config:{line}"), "lxc.start.order must be a whole number");
    // LXC would refuse to start it with this config. It goes on with the one that it has.
    // (So would lxc-attach: its init is told from outside.)
    let init = Pid::from_raw(init_pid.as_i64().and_then(|pid| pid.try_into().ok()).expect("a process id"));
    kill(init, Signal::SIGTERM).expect("a signal that busybox takes for a reboot");
    let rebooted = host.until(&web, "rebooted", |web| web["phase"] == "up" && web["init_pid"] != init_pid);
    assert_eq!((&rebooted["order"], &rebooted["restarts"]), (&7.into(), &1.into()), "{rebooted:#}");
    replace(&config, |new| fs::write(new, good.replace("= 7", "= 8")).expect("a config"));
    host.until(&web, "mended", |web| web["order"] == 8);
    nothing_else_is_affected(&host);
}

#[test]
fn a_config_that_cannot_be_read_any_more_leaves_the_guest_as_it_was() {
    let (host, web) = running();
    let config = host.lxcpath().join(&web).join("config");
    let good = fs::read(&config).expect("a config");
    replace(&config, |new| symlink("config", new).expect("a link to itself"));
    for _ in 0..2 {
        let told =
            wait_for("the diagnostic", || Some(bus::diagnostics(&host)).filter(|told| !told.is_empty()));
        let shown = host.status(&web);
        assert_eq!((&shown["phase"], &shown["order"], &shown["delay"]), (&"up".into(), &7.into(), &5.into()));
        let place = format!("{}: error: the file cannot be read", config.display());
        assert!(told[0].starts_with(&place) && told[0].contains("stays as it was known"), "{told:#?}");
        host.guestctl_ok(&["reload"]);
    }
    nothing_else_is_affected(&host);
    replace(&config, |new| fs::write(new, &good).expect("a config"));
    wait_for("its end", || bus::diagnostics(&host).is_empty().then_some(()));
}

#[test]
fn a_guest_whose_config_vanishes_runs_on_and_is_forgotten_when_it_is_down() {
    let (host, web) = running();
    fs::rename(host.lxcpath().join(&web).join("config"), host.at("config")).expect("it goes");
    assert_eq!(host.status(&web)["phase"], "up");
    let words = format!("{web} runs on without a configuration");
    wait_for(&words, || host.log().contains(&words).then_some(()));
    host.guestctl_ok(&["reload"]);
    nothing_else_is_affected(&host);
    host.guestctl_ok(&["kill", &web]);
    assert_eq!(host.list().into_keys().collect::<Vec<_>>(), [host.good.as_str()]);
}

#[test]
fn settings_that_break_stay_as_they_were() {
    let (host, _) = running();
    let file = host.at("etc/guestd.toml");
    let good = fs::read_to_string(&file).expect("settings");
    for (broken, line, words) in [
        (good.replace("\"highest-first\"", "\"sideways\""), 1, "order must be"),
        ("order = \"lowest-first\"\n[lxc\n".to_owned(), 2, "not valid TOML"),
    ] {
        fs::write(&file, &broken).expect("settings");
        let reload = host.guestctl(&["reload"]);
        assert!(told(&reload).contains("guestd keeps all the settings that it had"), "{}", told(&reload));
        is_told(&host, &format!("etc/guestd.toml:{line}"), words);
        assert!(host.guestctl_ok(&["status", "--json"]).contains("\"order\":\"highest-first\""));
        assert_eq!(host.list().len(), 2, "its lxcpath is still known");
    }
    nothing_else_is_affected(&host);
    fs::write(&file, good.replace("highest-first", "lowest-first")).expect("settings");
    assert_eq!(told(&host.guestctl(&["reload"])), "");
    assert!(host.guestctl_ok(&["status", "--json"]).contains("\"order\":\"lowest-first\""));
}
