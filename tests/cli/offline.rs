//! What both programs do with configuration alone: no bus, no guestd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Settings and containers of one test.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new(settings: &str, containers: &[(&str, &str)]) -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(host.path("etc/guests")).unwrap();
        fs::create_dir_all(host.lxcpath()).unwrap();
        let settings = format!("{settings}\n[lxc]\npath = [\"{}\"]\n", host.lxcpath().display());
        fs::write(host.path("etc/guestd.toml"), settings).unwrap();
        for (name, config) in containers {
            fs::create_dir(host.lxcpath().join(name)).unwrap();
            fs::write(host.lxcpath().join(name).join("config"), config).unwrap();
        }
        host
    }

    /// The example of LXC 1.0's documentation.
    fn example(settings: &str) -> Self {
        Self::new(
            settings,
            &[
                ("p1", "lxc.start.auto = 1\nlxc.group = ubuntu\n"),
                ("p2", "lxc.start.auto = 1\nlxc.start.delay = 5\nlxc.start.order = 100\n"),
            ],
        )
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn lxcpath(&self) -> PathBuf {
        self.path("lxc")
    }

    /// Runs a program: exit status, standard output, standard error, with this host's folder written `HOST`.
    fn run(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(program)
            .args(arguments)
            .args(["--config-dir", self.path("etc").to_str().unwrap()])
            .args(["--runtime-dir", self.path("run").to_str().unwrap()])
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .env("LC_ALL", "C")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let here = self.folder.path().to_str().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(here, "HOST");
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn autostart(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run(env!("CARGO_BIN_EXE_autostart"), arguments)
    }

    fn guestctl(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run(env!("CARGO_BIN_EXE_guestctl"), arguments)
    }
}

#[test]
fn a_list_of_one_lxcpath_needs_no_daemon() {
    let host = Host::example("order = \"highest-first\"");
    let lxcpath = host.lxcpath();
    for (line, out) in [
        (&["-a"][..], "p2 5\np1 0\n"),
        (&[], "p2 5\n"),
        (&["-g", "ubuntu"], "p1 0\n"),
        (&["-g", "ubuntu,"], "p1 0\np2 5\n"),
        (&["-a", "-s"], ""),
        (&["-a", "-r"], ""),
    ] {
        for path in [lxcpath.to_str().unwrap(), "lxc", "./lxc/"] {
            let line = [&["-L", "-P", path], line].concat();
            assert_eq!(host.autostart(&line), (0, out.into(), String::new()), "{line:?}");
        }
    }
}

#[test]
fn the_other_lxcpaths_of_the_settings_count_as_well() {
    let host = Host::new(
        "",
        &[("db", "lxc.start.order = 1"), ("twice", "lxc.start.auto = 1"), ("web", "lxc.start.auto = 1")],
    );
    let more = host.path("more");
    for (name, delay) in [("mail", 2), ("twice", 3)] {
        fs::create_dir_all(more.join(name)).unwrap();
        let config = format!("lxc.start.auto = 1\nlxc.start.delay = {delay}\n");
        fs::write(more.join(name).join("config"), config).unwrap();
    }
    fs::write(host.path("etc/guests/mail.toml"), "[start]\nrequires = [\"db\"]\n").unwrap();
    let paths = format!("order = \"highest-first\"\n[lxc]\npath = [{:?}, {more:?}]\n", host.lxcpath());
    fs::write(host.path("etc/guestd.toml"), paths).unwrap();
    // Another container of this name, which is in an earlier lxcpath, counts.
    let twice = "autostart: HOST/more/twice: error: a container of this name lies in HOST/lxc too";
    for (path, out) in
        [("more", "db 0\nmail 2\n"), ("lxc", "twice 0\nweb 0\n"), ("lxc/../more/", "db 0\nmail 2\n")]
    {
        let (status, listed, told) = host.autostart(&["-L", "-a", "-P", path]);
        assert_eq!((status, listed.as_str()), (0, out), "{path}: {told}");
        assert!(told.starts_with(twice) && told.lines().count() == 1, "{told}");
        let (_, table, _) = host.autostart(&["--plan", "-a", "-P", path]);
        assert_eq!(table.lines().count(), 1 + out.lines().count(), "{path}: {table}");
    }
}

#[test]
fn an_lxcpath_that_is_not_there_is_named() {
    let host = Host::example("");
    let (status, out, told) = host.autostart(&["-L", "-P", "nowhere"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(told.starts_with("autostart: cannot read the lxcpath HOST/nowhere: No such file"), "{told}");
}

#[test]
fn plans_are_made_from_the_configuration_when_there_is_no_daemon() {
    let host = Host::example("order = \"lowest-first\"");
    for (status, out, told) in [host.autostart(&["--plan", "-a"]), host.guestctl(&["plan", "-a"])] {
        assert_eq!(status, 0, "{told}");
        let names: Vec<_> = out.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(names, ["p1", "p2"], "{out}");
        assert!(
            told.contains("guestd cannot be reached; this plan is made from the configuration"),
            "{told}"
        );
    }
    let (_, out, _) = host.guestctl(&["plan", "--json"]);
    let steps: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&steps[0]["name"], &steps[0]["delay"]), (&json!("p2"), &json!(5)));
}

#[test]
fn dependencies_are_read_from_the_configuration_when_there_is_no_daemon() {
    let host = Host::example("");
    let overlay = "[start]\nrequires = [\"p2\"]\nafter = [\"p3\"]\n";
    fs::write(host.path("etc/guests/p1.toml"), overlay).unwrap();
    let (status, out, told) = host.guestctl(&["deps"]);
    assert_eq!((status, out.as_str()), (0, "o p1\no |-requires p2\n? `-after p3 (not defined)\n"));
    assert_eq!(told, "guestctl: guestd cannot be reached; this is made from the configuration\n");
    let (_, out, _) = host.guestctl(&["deps", "--reverse", "p2"]);
    assert_eq!(out, "o p2\no `-required by p1\n");
    let (status, _, told) = host.guestctl(&["deps", "nobody"]);
    assert_eq!((status, told.contains("no guest is named \"nobody\"")), (4, true), "{told}");
}

#[test]
fn the_boot_groups_of_the_settings_are_planned() {
    let host = Host::example("boot-groups = [\"ubuntu\"]\norder = \"highest-first\"");
    let (_, out, _) = host.autostart(&["-L", "--boot", "-P", "lxc"]);
    assert_eq!(out, "p1 0\n");
}

#[test]
fn check_tells_what_is_wrong_and_where() {
    let clean = Host::example("order = \"highest-first\"");
    assert_eq!(clean.guestctl(&["check"]), (0, "0 errors, 0 warnings in 2 guests\n".into(), String::new()));
    let host = Host::new("order = \"highest-first\"", &[("web", "lxc.start.order = abc\n"), ("db", "")]);
    let (status, out, _) = host.guestctl(&["check"]);
    assert_eq!(status, 1, "{out}");
    assert!(out.starts_with("HOST/lxc/web/config:1: error: "), "{out}");
    assert!(out.ends_with("1 error, 0 warnings in 2 guests\n"), "{out}");
    let (status, out, _) = host.guestctl(&["check", "--json"]);
    let findings: Value = serde_json::from_str(&out).unwrap();
    let first = &findings[0];
    assert_eq!((status, &first["severity"], &first["line"]), (1, &json!("error"), &json!(1)));
    assert_eq!((&first["guest"], &first["file"]), (&json!("web"), &json!("HOST/lxc/web/config")));
}

#[test]
fn warnings_alone_do_not_fail_a_check() {
    let host = Host::example("");
    let (status, out, _) = host.guestctl(&["check"]);
    assert_eq!(status, 0);
    assert!(out.contains("HOST/etc/guestd.toml: warning: "), "{out}");
    assert!(out.ends_with("0 errors, 1 warning in 2 guests\n"), "{out}");
}

#[test]
fn check_finds_cycles_and_plans_tell_them() {
    let host = Host::new(
        "",
        &[("a", "lxc.start.auto = 1"), ("b", "lxc.start.auto = 1"), ("c", "lxc.start.auto = 1")],
    );
    for (guest, needed) in [("a", "b"), ("b", "a")] {
        let overlay = format!("[start]\nrequires = [\"{needed}\"]\n");
        fs::write(host.path("etc/guests").join(format!("{guest}.toml")), overlay).unwrap();
    }
    let (status, out, _) = host.guestctl(&["check"]);
    assert_eq!(status, 1);
    assert!(
        out.starts_with("HOST/etc/guests/a.toml:2: error: the dependencies a → b → a form a cycle"),
        "{out}"
    );
    let (status, out, told) = host.autostart(&["-L", "-a", "-P", "lxc"]);
    assert_eq!((status, out.as_str()), (0, "c 0\n"));
    assert!(told.contains("autostart: a: ") && told.contains("autostart: b: "), "{told}");
}

#[test]
fn cat_shows_each_value_with_its_origin() {
    let host = Host::example("");
    fs::write(host.path("etc/guests/p2.toml"), "[stop]\ntimeout = \"7s\"\n").unwrap();
    let (status, out, told) = host.guestctl(&["cat", "p2"]);
    assert_eq!((status, told.as_str()), (0, ""));
    let line = |key: &str| {
        out.lines()
            .find(|line| line.starts_with(&format!("{key} = ")))
            .unwrap_or_else(|| panic!("{key}: {out}"))
    };
    assert!(line("start.order").ends_with("# HOST/lxc/p2/config:3"), "{out}");
    assert!(line("stop.timeout").ends_with("# HOST/etc/guests/p2.toml:2"), "{out}");
    assert!(line("reboot.action").ends_with("# default"), "{out}");
    let (_, out, _) = host.guestctl(&["cat", "p2", "--json"]);
    let values: Vec<Value> = serde_json::from_str(&out).unwrap();
    let delay = values.iter().find(|value| value["key"] == "start.delay").unwrap();
    assert_eq!((&delay["file"], &delay["line"]), (&json!("HOST/lxc/p2/config"), &json!(2)));
}

#[test]
fn cat_of_no_guest_exits_with_4() {
    let host = Host::example("");
    for name in ["nix", "a/b", &"n".repeat(300)] {
        let (status, out, told) = host.guestctl(&["cat", name]);
        assert_eq!((status, out.as_str()), (4, ""), "{name}");
        assert!(told.starts_with("guestctl: ") && told.len() < 200, "{told}");
    }
    assert!(Path::new(&host.lxcpath()).exists());
}

#[test]
fn vservers_are_checked_shown_and_planned() {
    let host = Host::new("order = \"highest-first\"\nboot-groups = [\"default\"]", &[]);
    let write = |path: &str, text: &str| {
        fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
        fs::write(host.path(path), text).unwrap();
    };
    for (name, context) in [("web", "40001\n"), ("db", "40002\n")] {
        fs::create_dir_all(host.path("roots").join(name)).unwrap();
        write(&format!("vservers/{name}/context"), context);
        write(&format!("vservers/{name}/apps/init/mark"), "default\n");
        std::os::unix::fs::symlink(
            host.path("roots").join(name),
            host.path(&format!("vservers/{name}/vdir")),
        )
        .unwrap();
    }
    write("vservers/web/apps/init/depends", "db\n");
    let settings = fs::read_to_string(host.path("etc/guestd.toml")).unwrap();
    write("etc/guestd.toml", &format!("{settings}[vserver]\npath = {:?}\n", host.path("vservers")));
    let (status, out, _) = host.guestctl(&["check"]);
    assert_eq!((status, out.as_str()), (0, "0 errors, 0 warnings in 2 guests\n"));
    let (status, out, told) = host.guestctl(&["cat", "web"]);
    assert_eq!((status, told.as_str()), (0, ""));
    assert!(
        out.lines()
            .any(|line| line.starts_with("context = ") && line.ends_with("# HOST/vservers/web/context:1"))
    );
    let (status, out, _) = host.guestctl(&["plan", "--boot"]);
    let planned: Vec<_> = out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!((status, planned), (0, vec!["db", "web"]), "{out}");

    write("vservers/web/nice", "1\n2\n");
    write("vservers/web/rlimits/nproc", "many\n");
    let (status, out, _) = host.guestctl(&["check"]);
    assert_eq!(status, 1);
    assert!(out.contains("HOST/vservers/web/rlimits/nproc:1: error: \"many\" is ignored"), "{out}");
}
