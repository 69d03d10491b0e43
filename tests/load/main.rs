//! Loading from the disk: everything at once, and what is wrong with it.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use guestd::{
    daemon::load::{self, Directories, Inventory},
    model::{Auto, GuestName, Severity},
};
use tempfile::TempDir;

mod again;
mod native;
mod systemd;
mod vserver;

/// A host's folders under a temporary one.
struct Host {
    root: TempDir,
    directories: Directories,
}

impl Host {
    /// Has the lxcpaths `lxc` and `more`, and settings that name them.
    fn new(settings: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(root.path().join(name));
        let directories = Directories::new(at("etc"), at("run"), at("state"));
        let host = Self { root, directories };
        fs::create_dir_all(host.path("lxc")).unwrap();
        fs::create_dir_all(host.path("more")).unwrap();
        let paths = format!("[lxc]\npath = [{:?}, {:?}]\n", host.path("lxc"), host.path("more"));
        host.write("etc/guestd.toml", format!("{settings}\n{paths}"));
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn load(&self) -> Inventory {
        load::load(&self.directories)
    }

    /// The diagnostics, with paths relative to the temporary folder.
    fn said(&self, inventory: &Inventory) -> Vec<String> {
        let root = format!("{}/", self.root.path().display());
        inventory.diagnostics().iter().map(|found| found.to_string().replace(&root, "")).collect()
    }
}

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.guests.keys().map(GuestName::as_str).collect()
}

const WRITTEN: &str = "order = \"lowest-first\"";

#[test]
fn everything_is_found_and_laid_in_order() {
    let host = Host::new(&format!(
        "{WRITTEN}\n[defaults.start]\norder = 1\ndelay = 1\ntimeout = 1\n[defaults.stop]\ntimeout = 1\n"
    ));
    host.write("lxc/web/config", "lxc.start.auto = 1\nlxc.start.order = 2\nlxc.start.delay = 2\n")
        .write("lxc/web/guestd.toml", "[start]\ndelay = 3\ntimeout = 3\n[stop]\ntimeout = 3\n")
        .write("etc/guests/web.toml", "[start]\ntimeout = 4\n[stop]\ntimeout = 4\n")
        .write("etc/guests/web.toml.d/10.toml", "[stop]\ntimeout = 5\n")
        .write("etc/guests/web.toml.d/20.toml", "[stop]\ntimeout = 6\n")
        .write("etc/guests/web.toml.d/.30.toml", "[stop]\ntimeout = 7\n")
        .write("more/db/config", "")
        .write("lxc/.hidden/config", "")
        .write("lxc/no-container/file", "")
        .write("lxc/file", "");
    let inventory = host.load();
    assert_eq!(host.said(&inventory), [""; 0]);
    assert_eq!(names(&inventory), ["db", "web"]);
    let web = &inventory.guests["web"];
    assert_eq!(web.start.auto, Auto::Yes);
    assert_eq!((web.start.order, web.start.delay.as_secs()), (2, 3));
    assert_eq!((web.start.timeout.as_secs(), web.stop.timeout.as_secs()), (4, 6));
    assert_eq!(web.lxcpath(), Some(&*host.path("lxc")));
    assert_eq!(inventory.guests["db"].start.order, 1);
}

#[test]
fn cat_shows_where_each_value_comes_from() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.auto = 1\nlxc.start.order = x\n")
        .write("etc/guests/web.toml", "[start]\n\ndelay = 4\n");
    let (imported, found) = load::effective(&host.directories, &name("web"));
    let imported = imported.unwrap();
    let rows: Vec<_> = imported.effective.iter().map(ToString::to_string).collect();
    assert!(
        rows.contains(&format!("start.auto = true  # {}:1", host.path("lxc/web/config").display())),
        "{rows:#?}"
    );
    assert!(
        rows.contains(&format!("start.delay = \"4s\"  # {}:3", host.path("etc/guests/web.toml").display()))
    );
    assert!(rows.contains(&"start.order = 0  # default".to_owned()));
    assert_eq!(imported.files, [host.path("lxc/web/config"), host.path("etc/guests/web.toml")]);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Error));
    assert_eq!(*host.load().guests["web"], imported.guest);
    let said = |guest| load::effective(&host.directories, &name(guest)).0.unwrap_err().to_string();
    assert_eq!(said("none"), "no guest is named \"none\" in the configuration");
    fs::create_dir_all(host.path("more/odd/config")).unwrap();
    assert_eq!(said("odd"), format!("{} is not a regular file", host.path("more/odd/config").display()));
}

#[test]
fn what_only_all_files_of_a_guest_show_is_told_with_its_place() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.auto = 1\n")
        .write("etc/guestd.toml.d/restart.toml", "[defaults.restart]\ndelay = \"2m\"\n")
        .write("etc/guests/web.toml", "[ready]\ntcp = \"db:1\"\n[health]\ninterval = 5\n")
        .write("etc/guests/web.toml.d/1.toml", "[ready]\nfile = \"/run/ready\"\n");
    let wanted = [
        "etc/guestd.toml.d/restart.toml:2: warning: restart.delay \"2m\" is longer than restart.max-delay \"1m\"",
        "etc/guests/web.toml:4: warning: health.interval has no effect: nothing is asked; write tcp, exec, socket",
    ];
    let inventory = host.load();
    let said = host.said(&inventory);
    let (imported, found) = load::effective(&host.directories, &name("web"));
    assert_eq!((said.len(), found.len()), (2, 2), "{said:?} {found:?}");
    for ((said, found), wanted) in said.iter().zip(found).zip(wanted) {
        assert!(said.starts_with(wanted), "{said}");
        assert!(found.to_string().contains(wanted), "{found}");
    }
    assert_eq!(inventory.guests["web"].ready.when.to_string(), "file /run/ready");
    assert_eq!(*inventory.guests["web"], imported.unwrap().guest);
    host.write("etc/guests/web.toml.d/2.toml", "[health]\nfile = \"/x\"\n[restart]\nmax-delay = \"1h\"\n");
    assert_eq!(host.said(&host.load()), [""; 0]);
}

#[test]
fn two_containers_of_one_name_are_an_error_and_the_first_counts() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "lxc.start.order = 1\n").write("more/web/config", "lxc.start.order = 2\n");
    let inventory = host.load();
    assert_eq!(inventory.guests["web"].start.order, 1);
    let said = host.said(&inventory);
    assert_eq!(said.len(), 1);
    let start = "more/web: error: a container of this name lies in lxc too, which is the one that counts";
    assert!(said[0].starts_with(start), "{}", said[0]);
}

#[test]
fn names_that_cannot_be_are_errors() {
    let host = Host::new(WRITTEN);
    let long = "n".repeat(200);
    host.write(&format!("lxc/{long}/config"), "")
        .write("lxc/-dash/config", "")
        .write("lxc/with blank/config", "")
        .write("lxc/-nothing/file", "")
        .write("lxc/good/config", "")
        .write(&format!("etc/guests/{long}.toml"), "");
    let inventory = host.load();
    assert_eq!(names(&inventory), ["good"]);
    let said = host.said(&inventory);
    assert_eq!(said.len(), 4, "{said:#?}");
    for part in ["200 characters; at most 64", "begins with \"-\"", "holds ' '"] {
        assert!(
            said.iter().any(|line| line.contains(part) && line.contains(": error: ")),
            "{part}: {said:#?}"
        );
    }
    // No file system holds a name of 300 characters; a file of settings can still name one.
    host.write("etc/guests/good.toml", format!("[start]\nafter = [\"{}\"]\n", "n".repeat(300)));
    let said = host.said(&host.load()).join("\n");
    assert!(said.contains("etc/guests/good.toml:2: error: an element of start.after is ignored"), "{said}");
    assert!(said.contains("has 300 characters; at most 64"), "{said}");
}

#[test]
fn lxcpaths_that_cannot_be_read_are_errors() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "").write("file", "");
    let loop_path = host.path("loop");
    std::os::unix::fs::symlink(&loop_path, &loop_path).unwrap();
    for (name, part) in [("file", "is not a folder"), ("none", "does not exist"), ("loop", "cannot be read")]
    {
        let settings = format!("{WRITTEN}\n[lxc]\npath = [{:?}, {:?}]\n", host.path(name), host.path("lxc"));
        host.write("etc/guestd.toml", settings);
        let inventory = host.load();
        assert_eq!(names(&inventory), ["web"]);
        let said = host.said(&inventory);
        assert_eq!(said.len(), 1, "{said:#?}");
        assert!(
            said[0].starts_with(&format!("{name}: error: the lxcpath, named by etc/guestd.toml:3, {part}")),
            "{}",
            said[0]
        );
    }
}

#[test]
fn broken_configs_cost_only_themselves() {
    let host = Host::new(WRITTEN);
    let mut long = b"lxc.start.auto = 1\nlxc.group = ".to_vec();
    long.resize(10 * 1024 * 1024, b'x');
    long.extend_from_slice(b"\nlxc.start.delay = 5\n");
    host.write("lxc/nul/config", b"lxc.start.auto = 1\n\0\nlxc.start.delay = 5\n")
        .write("lxc/long/config", long)
        .write("lxc/order/config", "lxc.start.order = abc\nlxc.start.auto = 1\n")
        .write("lxc/group/config", "lxc.group = a/b web\nlxc.start.auto = 1\n")
        .write(
            "lxc/circle/config",
            format!("lxc.include = {}\nlxc.start.auto = 1\n", host.path("circle").display()),
        )
        .write("circle", format!("lxc.include = {}\n", host.path("circle").display()))
        .write("lxc/good/config", "lxc.start.auto = 1\n");
    nix::unistd::mkfifo(&host.path("lxc/good/guestd.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir_all(host.path("lxc/fifo")).unwrap();
    nix::unistd::mkfifo(&host.path("lxc/fifo/config"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let inventory = host.load();
    assert_eq!(names(&inventory), ["circle", "good", "group", "long", "nul", "order"]);
    assert!(inventory.guests.values().all(|guest| guest.start.auto == Auto::Yes));
    assert_eq!(inventory.guests["long"].start.delay.as_secs(), 5);
    assert_eq!(inventory.guests["group"].start.groups.names().len(), 1);
    let mut said = host.said(&inventory);
    said.sort();
    assert_eq!(said.len(), 7, "{said:#?}");
    for (line, start) in said.iter().zip([
        "circle:1: error: lxc.include goes round in a circle: ",
        "lxc/fifo/config: error: the file is not a regular file; the container is not managed",
        "lxc/good/guestd.toml: error: it is not a regular file, so that its settings are ignored",
        "lxc/group/config:1: error: a group of lxc.group is ignored: the name \"a/b\" holds '/'",
        "lxc/long/config:2: error: the line is longer than 65536 bytes",
        "lxc/nul/config:2: error: the line holds a NUL byte",
        "lxc/order/config:1: error: lxc.start.order must be a whole number",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn what_many_containers_share_is_said_once() {
    let host = Host::new(WRITTEN);
    host.write("shared", "lxc.frobnicate = 1\nlxc.include = /does/not/exist\n");
    for name in ["a", "b", "c"] {
        host.write(
            &format!("lxc/{name}/config"),
            format!("lxc.include = {}\n", host.path("shared").display()),
        );
    }
    let inventory = host.load();
    let said = host.said(&inventory);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].starts_with("shared:2: error: ") && said[1].starts_with("shared:1: warning: "),
        "{said:#?}"
    );
    assert!(inventory.diagnostics().iter().all(|found| found.guest.is_none()));
}

#[test]
fn an_order_that_nobody_wrote_down_is_warned_of_once() {
    let host = Host::new("");
    host.write("lxc/a/config", "lxc.start.order = 1\n").write("lxc/b/config", "lxc.start.order = 2\n");
    let said = host.said(&host.load());
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("etc/guestd.toml: warning: "), "{}", said[0]);
    for part in ["highest-first", "lowest-first", "into etc/guestd.toml"] {
        assert!(said[0].contains(part), "{part}: {}", said[0]);
    }
    host.write("etc/guestd.toml.d/order.toml", WRITTEN);
    assert_eq!(host.said(&host.load()), [""; 0]);
    fs::remove_dir_all(host.path("etc/guestd.toml.d")).unwrap();
    host.write("lxc/a/config", "").write("lxc/b/config", "");
    assert_eq!(host.said(&host.load()), [""; 0]);
}

#[test]
fn names_of_nobody_are_warned_of() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "")
        .write(
            "etc/guests/web.toml",
            "engine = \"lxc\"\n[start]\nrequires = [\"db\"]\nafter = [\"web\"]\nwants = [\"cache\"]\n",
        )
        .write("etc/guests/old.toml", "[start]\nauto = true\n")
        .write("etc/guests/vm.toml", "engine = \"libvirt\"\n");
    let mut said = host.said(&host.load());
    said.sort();
    for (line, start) in said.iter().zip([
        "etc/guests/old.toml: warning: no container is named old",
        "etc/guests/vm.toml:1: error: this version runs LXC containers and native guests only",
        "etc/guests/web.toml:1: error: engine = \"lxc\" cannot stand in an overlay",
        "etc/guests/web.toml:3: error: start.requires of web names db",
        "etc/guests/web.toml:4: error: the dependencies web → web form a cycle",
        "etc/guests/web.toml:5: warning: start.wants of web names cache",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(said.len(), 6, "{said:#?}");
}

#[test]
fn a_path_that_the_settings_do_not_name_replaces_theirs() {
    let host = Host::new(WRITTEN);
    host.write("lxc/web/config", "").write("other/db/config", "").write("etc/guests/web.toml", "");
    let other = host.path("other//");
    let inventory = load::load_with_path(&host.directories, &other);
    assert_eq!(host.said(&inventory), [""; 0]);
    assert_eq!(names(&inventory), ["db"]);
    assert_eq!(inventory.guests["db"].lxcpath().unwrap().as_os_str(), host.path("other").as_os_str());
    for named in ["more/", "lxc/../more"] {
        assert_eq!(names(&load::load_with_path(&host.directories, &host.path(named))), ["web"], "{named}");
    }
    let inventory = load::load_with_path(&host.directories, Path::new("/does/not/exist"));
    assert_eq!(inventory.guests.len(), 0);
    assert!(inventory.diagnostics()[0].to_string().starts_with("/does/not/exist: error: "));
}

#[test]
fn a_link_to_the_null_device_masks_a_file() {
    let host = Host::new("");
    host.write("lxc/web/config", "lxc.start.order = 1\n")
        .write("run/guestd.toml.d/10-a.toml", "order = \"lowest-first\"\n")
        .write("run/guestd.toml.d/20-b.toml", "max-starting = 3\n")
        .write("etc/guestd.toml.d/30-c.toml", WRITTEN)
        .write("etc/guests/web.toml.d/20.toml", "[start]\norder = 2\n");
    for masked in ["etc/guestd.toml.d/20-b.toml", "etc/guests/web.toml", "etc/guests/web.toml.d/10.toml"] {
        std::os::unix::fs::symlink("/dev/null", host.path(masked)).unwrap();
    }
    let inventory = host.load();
    assert_eq!(host.said(&inventory), [""; 0]);
    assert_ne!(inventory.settings.max_starting, 3);
    assert_eq!(inventory.guests["web"].start.order, 2);
}

#[test]
fn settings_of_this_boot_lie_below_those_of_the_administrator() {
    let host = Host::new("");
    host.write("run/guestd.toml", "max-starting = 9\n")
        .write("run/guestd.toml.d/10-a.toml", "order = \"lowest-first\"\nlauncher = \"direct\"\n")
        .write("run/guestd.toml.d/20-b.toml", "max-starting = 3\n")
        .write("etc/guestd.toml.d/10-a.toml", "launcher = \"systemd\"\n")
        .write("etc/guestd.toml.d/15-c.toml", "max-starting = 2\nbroken = 1\n");
    let inventory = host.load();
    let settings = &inventory.settings;
    assert_eq!((settings.max_starting, settings.order_is_written), (3, false));
    assert_eq!(settings.launcher.as_str(), "systemd");
    let said = host.said(&inventory);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("etc/guestd.toml.d/15-c.toml:2: error: unknown key broken"), "{}", said[0]);
}
