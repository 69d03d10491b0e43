//! Native guests: found in their own files, among containers, and read again.

use std::fs;

use guestd::{
    daemon::load,
    model::{EngineKind, EngineSpec, NativeSpec, Resource, native::Root},
};

use super::{Host, Inventory, WRITTEN, name, names};

const WEB: &str = "engine = \"native\"\nroot = \"/srv/web\"\n";

fn spec<'i>(inventory: &'i Inventory, guest: &str) -> &'i NativeSpec {
    match &inventory.guests[guest].engine {
        EngineSpec::Native(spec) => spec,
        EngineSpec::Lxc(_) => panic!("{guest} is a container"),
    }
}

impl Host {
    fn reloaded(&self, before: &Inventory) -> (Inventory, Vec<String>) {
        let now = load::reload(&self.directories, before);
        let said = self.said(&now);
        (now, said)
    }
}

#[test]
fn native_guests_stand_among_containers() {
    let host = Host::new("[defaults.stop]\ntimeout = 7\n[defaults.start]\norder = 3\n");
    host.write("etc/guests/web.toml", format!("{WEB}[start]\norder = 5\nrequires = [\"db\"]\n"))
        .write("etc/guests/web.toml.d/10.toml", "nice = 5\n[start]\nafter = [\"lxc1\"]\n")
        .write("etc/guests/db.toml.d/10.toml", "engine = \"native\"\narchive = \"/srv/db.tar\"\n")
        .write("lxc/lxc1/config", "");
    let host_warns = host.load();
    assert!(host.said(&host_warns)[0].contains("LXC containers have a start order"), "by the defaults");
    host.write("etc/guestd.toml.d/order.toml", WRITTEN);
    let inventory = host.load();
    assert_eq!(host.said(&inventory), [""; 0]);
    assert_eq!(names(&inventory), ["db", "lxc1", "web"]);
    let web = &inventory.guests["web"];
    assert_eq!((web.engine_kind(), web.start.order, web.stop.timeout.as_secs()), (EngineKind::Native, 5, 7));
    assert_eq!((web.start.requires.len(), web.start.after.len()), (1, 1));
    assert_eq!(spec(&inventory, "web").process.nice, Some(5));
    assert_eq!(spec(&inventory, "db").root, Root::Archive("/srv/db.tar".into()));
    let foreign = load::load_with_path(&host.directories, &host.path("other"));
    assert_eq!(names(&foreign), [""; 0], "another lxcpath has other guests");
}

#[test]
fn an_order_of_native_guests_is_no_doubt_of_lxcs() {
    let host = Host::new("");
    host.write("etc/guests/web.toml", format!("{WEB}[start]\norder = 5\n"));
    assert_eq!(host.said(&host.load()), [""; 0]);
}

#[test]
fn cat_shows_where_each_value_comes_from() {
    let host = Host::new(WRITTEN);
    host.write("etc/guests/web.toml", WEB).write("etc/guests/web.toml.d/10.toml", "nice = 5\nnicer = 5\n");
    let (imported, found) = load::effective(&host.directories, &name("web"));
    let imported = imported.unwrap();
    let rows: Vec<_> = imported.effective.iter().map(ToString::to_string).collect();
    let (own, drop_in) = (host.path("etc/guests/web.toml"), host.path("etc/guests/web.toml.d/10.toml"));
    for row in [
        format!("engine = \"native\"  # {}:1", own.display()),
        format!("root = \"/srv/web\"  # {}:2", own.display()),
        format!("nice = 5  # {}:1", drop_in.display()),
        "init = [\"/sbin/init\"]  # default".into(),
        "start.order = 0  # default".into(),
    ] {
        assert!(rows.contains(&row), "{row}: {rows:#?}");
    }
    assert_eq!(imported.files, [own, drop_in]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*host.load().guests["web"], imported.guest);
    host.write("etc/guests/odd.toml", "engine = \"native\"\n").write("etc/guests/old.toml", "");
    let (odd, found) = load::effective(&host.directories, &name("odd"));
    assert_eq!(odd.unwrap_err().to_string(), "no guest is named \"odd\" in the configuration");
    assert!(found[0].message.starts_with("odd has no root"), "{found:?}");
    assert!(load::effective(&host.directories, &name("old")).0.is_err());
}

#[test]
fn what_is_wrong_is_told_and_costs_no_other_guest() {
    let host = Host::new(WRITTEN);
    host.write("lxc/lxc1/config", "")
        .write(
            "etc/guests/lxc1.toml",
            "engine = \"native\"\nroot = \"/srv\"\n[start]\norder = 5\n[limits]\nnofile = 5\n",
        )
        .write("etc/guests/bad.toml", format!("{WEB}seccomp = false\n"))
        .write("etc/guests/good.toml", WEB)
        .write("etc/guests/half.toml", "root = \"/srv\"\n")
        .write("etc/guests/lost.toml", "engine = \"native\nroot = \"/srv\"\n")
        .write("etc/guests/none.toml", "engine = \"native\"\n");
    let inventory = host.load();
    assert_eq!(names(&inventory), ["bad", "good", "lxc1"]);
    let mut said = host.said(&inventory);
    said.sort();
    for (line, start) in said.iter().zip([
        "etc/guests/bad.toml:3: error: seccomp must be \"default\" or \"off\"",
        "etc/guests/half.toml:1: error: root is a key of native guests, and nothing says that half is one",
        "etc/guests/lost.toml:1: error: not valid TOML: ",
        "etc/guests/lost.toml:2: error: root is a key of native guests, and nothing says that lost is one",
        "etc/guests/lxc1.toml:1: error: engine = \"native\" cannot stand in an overlay: lxc1 is an LXC container",
        "etc/guests/lxc1.toml:2: error: root is a key of native guests, and lxc1 is an LXC container",
        "etc/guests/lxc1.toml:5: error: limits is a key of native guests, and lxc1 is an LXC container",
        "etc/guests/none.toml:1: error: none has no root, so that it cannot be a guest",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(said.len(), 8, "{said:#?}");
    let refused = spec(&inventory, "bad").refused.as_ref().unwrap();
    assert!(refused.contains("etc/guests/bad.toml:3: what is written there cannot be used"), "{refused}");
    assert_eq!(inventory.guests["lxc1"].start.order, 5);
}

#[test]
fn what_only_systemd_can_keep_is_told() {
    let host = Host::new(&format!("{WRITTEN}\nlauncher = \"direct\""));
    host.write(
        "etc/guests/web.toml",
        format!("{WEB}[start]\nnetwork-online = true\n[resources]\nTasksMax = 5\n"),
    );
    let said = host.said(&host.load());
    let start = "etc/guests/web.toml:4: warning: start.network-online has no effect: it needs systemd";
    assert!(said.len() == 1 && said[0].starts_with(start), "{said:#?}");
}

#[test]
fn one_guest_can_be_read_again() {
    let host = Host::new(WRITTEN);
    host.write("etc/guests/web.toml", WEB).write("etc/guests/old.toml", "nice = 5\n");
    let before = host.load();
    let mut now = before.clone();
    now.refresh(&host.directories, &name("web"));
    assert_eq!(now, before, "nothing changed");
    host.write("etc/guests/web.toml", format!("{WEB}nice = 5\n"));
    now.refresh(&host.directories, &name("web"));
    assert_eq!(spec(&now, "web").process.nice, Some(5));
    assert_ne!(now.guests["web"].fingerprint, before.guests["web"].fingerprint);
    assert_eq!(now, host.load(), "as if everything had been read");
    host.write("etc/guests/new.toml", WEB);
    now.refresh(&host.directories, &name("new"));
    assert_eq!(names(&now), ["new", "web"]);
    host.write("lxc/web/config", "");
    now.refresh(&host.directories, &name("web"));
    assert_eq!(now.guests["web"].engine_kind(), EngineKind::Lxc, "a container is found first");
    fs::remove_dir_all(host.path("lxc/web")).unwrap();
    fs::remove_file(host.path("etc/guests/web.toml")).unwrap();
    now.refresh(&host.directories, &name("web"));
    assert_eq!(now, host.load());
    assert_eq!(names(&now), ["new"]);
}

#[test]
fn a_guest_whose_files_break_keeps_its_settings() {
    let host = Host::new(WRITTEN);
    let good = format!("{WEB}nice = 5\n[start]\norder = 7\nafter = [\"db\"]\n");
    host.write("etc/guests/web.toml", &good).write("etc/guests/db.toml", WEB);
    let before = host.load();
    assert_eq!(host.said(&before), [""; 0]);
    for (text, told) in [
        (format!("{good}ordr = 1\n"), "etc/guests/web.toml:7: error: unknown key start.ordr"),
        (good.replace("nice = 5", "nice = 50"), "etc/guests/web.toml:3: error: nice must be"),
        (good.replace("/srv/web", "web"), "etc/guests/web.toml:2: error: root must be"),
        (good.replace("\"native\"", "\"native"), "etc/guests/web.toml:1: error: not valid TOML"),
        (good.replace("root = ", "rot = "), "etc/guests/web.toml:1: error: web has no root"),
    ] {
        host.write("etc/guests/web.toml", text);
        let (now, said) = host.reloaded(&before);
        assert_eq!(now.guests["web"], before.guests["web"], "{told}");
        assert!(said[0].starts_with(told) || said[1].starts_with(told), "{told}: {said:#?}");
        let kept = "warning: web keeps the settings that it had before, until the errors here are mended";
        assert!(said.iter().any(|line| line.ends_with(kept)), "{said:#?}");
        assert_eq!(host.reloaded(&now), (now.clone(), said), "again and again");
        let mut one = before.clone();
        one.refresh(&host.directories, &name("web"));
        assert_eq!(one, now, "also when one guest is read");
    }
    host.write("etc/guests/web.toml", WEB);
    let (now, said) = host.reloaded(&before);
    assert_eq!((spec(&now, "web").process.nice, said.len()), (None, 0));
    fs::remove_file(host.path("etc/guests/web.toml")).unwrap();
    assert_eq!(names(&host.reloaded(&before).0), ["db"], "and one that is gone is gone");
}

#[test]
fn native_guests_stay_when_an_lxcpath_cannot_be_read() {
    let host = Host::new(WRITTEN);
    host.write("etc/guests/web.toml", WEB).write("etc/guests/lxc1.toml", "[start]\norder = 5\n");
    fs::remove_dir_all(host.path("more")).unwrap();
    std::os::unix::fs::symlink(host.path("more"), host.path("more")).unwrap();
    let inventory = host.load();
    assert_eq!(names(&inventory), ["web"]);
    let said = host.said(&inventory);
    assert_eq!(said.len(), 1, "nothing is said of files whose container may lie there: {said:#?}");
}

#[test]
fn a_bundle_lies_beneath_the_guests_own_file() {
    let host = Host::new(&format!("{WRITTEN}\nlauncher = \"systemd\""));
    let bundle = host.path("bundle");
    let toml = format!("engine = \"native\"\nbundle = {bundle:?}\nhostname = \"mine\"\n");
    host.write("etc/guests/web.toml", &toml);
    let inventory = host.load();
    let missing =
        "etc/guests/web.toml:2: error: bundle/config.json does not exist; name a folder with a config.json";
    assert!(host.said(&inventory)[0].starts_with(missing), "{:#?}", host.said(&inventory));
    assert_eq!(names(&inventory), [""; 0]);

    let json = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oci/runc/config.json")).unwrap();
    // As programs write it: all in one line.
    let json = serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    let mut limited = json.clone();
    limited["linux"]["resources"]["pids"] = serde_json::json!({ "limit": 9 });
    limited["annotations"] = serde_json::json!({ "long": "x".repeat(100_000) });
    host.write("bundle/config.json", limited.to_string());
    let before = host.load();
    assert_eq!(host.said(&before), [""; 0]);
    let native = spec(&before, "web");
    assert_eq!((&native.root, native.read_only), (&Root::Folder(bundle.join("rootfs")), true));
    assert_eq!((native.hostname.as_deref(), native.security.no_new_privileges), (Some("mine"), true));
    let tasks = before.guests["web"].resources.get(Resource::TasksMax);
    assert_eq!(tasks.map(|amount| amount.to_string()).as_deref(), Some("9"));
    let files = load::effective(&host.directories, &name("web")).0.unwrap().files;
    assert_eq!(files, [host.path("etc/guests/web.toml"), bundle.join("config.json")]);

    host.write("bundle/config.json", "{\n5");
    let (now, said) = host.reloaded(&before);
    assert_eq!(now.guests["web"], before.guests["web"]);
    assert!(
        said[0].starts_with("bundle/config.json:2: error: not the configuration of an OCI runtime"),
        "{said:#?}"
    );
    host.write("bundle/config.json", json.to_string());
    let mut now = now;
    now.refresh(&host.directories, &name("web"));
    assert_eq!(host.said(&now), [""; 0], "and forgotten when it is mended");
    assert_ne!(now.guests["web"].fingerprint, before.guests["web"].fingerprint);
}
