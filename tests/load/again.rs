//! Reading again: what breaks later stays as it was, and says so.

use std::fs;

use guestd::daemon::load::{self, Inventory};

use super::{Host, WRITTEN, name, names};

impl Host {
    fn reload(&self, before: &Inventory) -> Inventory {
        load::reload(&self.directories, before)
    }

    fn refresh(&self, inventory: &mut Inventory, guest: &str) -> Vec<String> {
        inventory.refresh(&self.directories, &name(guest));
        self.said(inventory)
    }
}

/// What is said must begin so, line by line.
#[track_caller]
fn begins(said: &[String], starts: &[&str]) {
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (line, start) in said.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn one_guest_can_be_read_again() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.auto = 1\n")
        .write("etc/guests/web.toml", "[start]\norder = 3\n")
        .write("etc/guests/old.toml", "");
    let before = host.load();
    let mut now = before.clone();
    host.refresh(&mut now, "web");
    assert_eq!(now, before, "nothing changed");
    host.write("lxc/web/config", "lxc.start.auto = 0\n");
    host.refresh(&mut now, "web");
    assert_ne!(now.guests["web"].fingerprint, before.guests["web"].fingerprint);
    host.write("lxc/web/config", "lxc.start.auto = 1\n").write("etc/guests/web.toml", "[start]\norder = 4\n");
    host.refresh(&mut now, "web");
    let web = &now.guests["web"];
    assert_eq!((web.start.order, web.fingerprint), (4, before.guests["web"].fingerprint));
    fs::remove_dir_all(host.path("lxc/web")).unwrap();
    host.refresh(&mut now, "web");
    assert_eq!(names(&now), [""; 0]);
    assert_eq!(now, host.load(), "as if everything had been read");
}

#[test]
fn a_change_of_one_guest_shows_what_it_means_for_others() {
    let host = Host::new(WRITTEN);
    host.write("lxc/a/config", "").write("lxc/b/config", "").write("lxc/c/config", "");
    host.write("etc/guests/a.toml", "[start]\nrequires = [\"b\"]\n");
    host.write("lxc/b/guestd.toml", "[start]\nafter = [\"c\"]\n");
    let mut now = host.load();
    assert_eq!(host.said(&now), [""; 0]);

    let ring = "etc/guests/a.toml:2: error: the dependencies a → b → c → a form a cycle";
    host.write("lxc/c/guestd.toml", "[start]\nauto = true\nafter = [\"a\"]\n");
    begins(&host.refresh(&mut now, "c"), &[ring]);
    assert_eq!(now, host.load());
    fs::remove_file(host.path("lxc/b/guestd.toml")).unwrap();
    assert_eq!(host.refresh(&mut now, "b"), [""; 0], "the ring is cut");

    fs::remove_dir_all(host.path("lxc/b")).unwrap();
    let missing = "etc/guests/a.toml:2: error: start.requires of a names b, and no guest has that name";
    begins(&host.refresh(&mut now, "b"), &[missing]);
    host.write("lxc/b/config", "");
    assert_eq!(host.refresh(&mut now, "b"), [""; 0]);
}

#[test]
fn what_is_wrong_is_said_once_however_often_it_is_read() {
    let host = Host::new(WRITTEN);
    host.write("shared", "lxc.start.order = abc\n").write("etc/guests/-bad.toml", "");
    for guest in ["a", "b"] {
        host.write(
            &format!("lxc/{guest}/config"),
            format!("lxc.include = {}\n", host.path("shared").display()),
        );
    }
    let mut now = host.load();
    let said = host.said(&now);
    begins(&said, &["etc/guests/-bad.toml: error: ", "shared:1: error: "]);
    for guest in ["a", "b", "a"] {
        assert_eq!(host.refresh(&mut now, guest), said);
    }
    host.write("shared", "");
    begins(&host.refresh(&mut now, "a"), &["etc/guests/-bad.toml: error: "]);
}

#[test]
fn a_guest_whose_files_break_keeps_its_settings() {
    let host = Host::new(WRITTEN);
    host.write("lxc/db/config", "")
        .write("lxc/web/config", "lxc.start.auto = 1\nlxc.start.order = 7\n")
        .write("etc/guests/web.toml", "[start]\ndelay = 5\nrequires = [\"db\"]\n");
    let before = host.load();
    let changed = "lxc.start.auto = 1\nlxc.start.order = 8\n";
    let (config, overlay) = ("lxc/web/config", "etc/guests/web.toml");
    for (config_says, overlay_says, told) in [
        (changed, "[start\ndelay = 9\n", "etc/guests/web.toml:1: error: not valid TOML"),
        (changed, "[start]\ndelay = \"soon\"\n", "etc/guests/web.toml:2: error: start.delay must be"),
        (
            "lxc.start.order = abc\n",
            "[start]\ndelay = 9\n",
            "lxc/web/config:1: error: lxc.start.order must be",
        ),
        ("lxc.include = /does/not/exist\n", "", "lxc/web/config:1: error: lxc.include: /does/not/exist"),
    ] {
        host.write(config, config_says).write(overlay, overlay_says);
        let now = host.reload(&before);
        let (was, is) = (&before.guests["web"], &now.guests["web"]);
        assert_eq!((&is.start, &is.reboot, &is.stop), (&was.start, &was.reboot, &was.stop), "{told}");
        // LXC would refuse the broken config: a reboot goes on with the one that runs.
        assert_eq!(is.fingerprint == was.fingerprint, config_says != changed, "{told}");
        let said = host.said(&now);
        assert!(said[0].starts_with(told), "{said:#?}");
        let place = told.split(": error").next().unwrap();
        let kept = format!("{place}: warning: web keeps the settings that it had before");
        assert!(said.iter().any(|line| line.starts_with(&kept)), "{said:#?}");
        let again = host.reload(&now);
        assert_eq!((again.guests["web"].start.order, host.said(&again)), (7, said), "again and again");
        let mut one = before.clone();
        host.refresh(&mut one, "web");
        assert_eq!(one, now, "also when one guest is read");
    }
    host.write(config, changed).write(overlay, "[start]\ndelay = 9\n");
    let mended = host.reload(&before);
    let web = &mended.guests["web"].start;
    assert_eq!((web.order, web.delay.as_secs(), web.requires.len()), (8, 9, 0));
    assert_eq!(host.said(&mended), [""; 0]);
}

#[test]
fn broken_from_the_start_is_not_kept() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.auto = 1\nlxc.start.order = abc\n");
    let before = host.load();
    begins(&host.said(&before), &["lxc/web/config:2: error: "]);
    assert_eq!(host.reload(&before), before);
}

#[test]
fn a_config_that_cannot_be_read_any_more_keeps_its_guest_and_one_that_is_gone_does_not() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.order = 7\n").write("lxc/good/config", "");
    let before = host.load();
    fs::remove_file(host.path("lxc/web/config")).unwrap();
    fs::create_dir(host.path("lxc/web/config")).unwrap();
    let now = host.reload(&before);
    assert_eq!(now.guests, before.guests);
    let start = "lxc/web/config: error: the file is not a regular file; the container stays as it was known";
    begins(&host.said(&now), &[start]);
    fs::remove_dir_all(host.path("lxc/web")).unwrap();
    assert_eq!(names(&host.reload(&now)), ["good"]);
}

#[test]
fn an_lxcpath_that_cannot_be_read_any_more_keeps_its_guests() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "").write("more/db/config", "");
    host.write("etc/guests/db.toml", "[start]\nrequires = [\"web\"]\n");
    let before = host.load();
    let (more, aside) = (host.path("more"), host.path("aside"));
    fs::rename(&more, &aside).unwrap();
    std::os::unix::fs::symlink(&more, &more).unwrap();
    let now = host.reload(&before);
    assert_eq!(now.guests, before.guests);
    let said = host.said(&now);
    begins(&said, &["more: error: the lxcpath, named by etc/guestd.toml:3, cannot be read"]);
    assert!(said[0].contains("its containers stay as they were known before (1)"), "{said:#?}");
    fs::remove_file(&more).unwrap();
    assert_eq!(names(&host.reload(&now)), ["web"], "one that is gone has no guests");
}

#[test]
fn broken_settings_leave_the_old_ones_in_force() {
    let host = Host::new("order = \"lowest-first\"\nmax-starting = 3");
    host.write("lxc/web/config", "");
    let before = host.load();
    let good = fs::read_to_string(host.path("etc/guestd.toml")).unwrap();
    for (broken, told) in [
        (good.replace("\"lowest-first\"", "\"sideways\""), "etc/guestd.toml:1: error: order must be"),
        ("order = [\n".to_owned(), "etc/guestd.toml:1: error: not valid TOML"),
    ] {
        host.write("etc/guestd.toml", &broken);
        let now = host.reload(&before);
        assert_eq!((&now.settings, &now.guests), (&before.settings, &before.guests));
        let place = told.split(": error").next().unwrap();
        begins(&host.said(&now), &[told, &format!("{place}: warning: guestd keeps all the settings")]);
        assert_eq!(host.load().settings.order.to_string(), "highest-first", "at the start: the default");
    }
    host.write("etc/guestd.toml", good.replace("= 3", "= 5"));
    assert_eq!(host.reload(&before).settings.max_starting, 5);
}
