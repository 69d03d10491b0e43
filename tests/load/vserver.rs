//! util-vserver's folders on the disk, beside containers.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use guestd::{
    daemon::load::{self, Inventory},
    import::vserver::tree::ENTRIES_MAX,
    model::{Auto, Deed, EngineKind, EngineSpec, Guest, NativeSpec, Resource, Step, native::Root},
};

use super::{Host, WRITTEN, name, names};

/// A host whose vservers lie in `vservers`, and their roots in `roots`.
fn host() -> Host {
    let host = Host::new(WRITTEN);
    for folder in ["vservers", "roots"] {
        fs::create_dir_all(host.path(folder)).unwrap();
    }
    let settings = fs::read_to_string(host.path("etc/guestd.toml")).unwrap();
    let path = format!("\n[vserver]\npath = {:?}\nhelper = \"/x/helper\"\n", host.path("vservers"));
    host.write("etc/guestd.toml", format!("boot-groups = [\"default\"]\n{settings}{path}"));
    host
}

impl Host {
    /// A vserver with a root and these files.
    fn vserver(&self, guest: &str, files: &[(&str, &str)]) -> &Self {
        fs::create_dir_all(self.path("roots").join(guest)).unwrap();
        let folder = self.path("vservers").join(guest);
        fs::create_dir_all(&folder).unwrap();
        self.link(&format!("../../roots/{guest}"), &format!("vservers/{guest}/vdir"));
        for (file, content) in files {
            self.write(&format!("vservers/{guest}/{file}"), content);
        }
        self
    }

    fn link(&self, to: &str, at: &str) -> &Self {
        fs::create_dir_all(self.path(at).parent().unwrap()).unwrap();
        symlink(to, self.path(at)).unwrap();
        self
    }

    fn real(&self, path: &str) -> PathBuf {
        fs::canonicalize(self.path(path)).unwrap()
    }
}

fn spec(guest: &Guest) -> &NativeSpec {
    match &guest.engine {
        EngineSpec::Native(spec) => spec,
        EngineSpec::Lxc(_) => panic!("{guest:?}"),
    }
}

fn steps(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

/// What is said must begin so, line by line.
#[track_caller]
fn begins(said: &[String], starts: &[&str]) {
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (line, start) in said.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_symlink() => symlink(fs::read_link(from).unwrap(), to).unwrap(),
            kind if kind.is_dir() => copy(&from, &to),
            _ => drop(fs::copy(from, to).unwrap()),
        }
    }
}

#[test]
fn the_example_is_free_of_errors_and_in_the_documented_order() {
    let host = host();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vservers"), &host.path("vservers"));
    fs::remove_file(host.path("vservers/.defaults/vdirbase")).unwrap();
    host.link("../../roots", "vservers/.defaults/vdirbase");
    for guest in ["web", "db"] {
        fs::create_dir_all(host.path("roots").join(guest)).unwrap();
    }
    let inventory = host.load();
    assert_eq!(host.said(&inventory), [""; 0]);
    assert_eq!(names(&inventory), ["db", "web"]);
    let (web, db) = (&inventory.guests["web"], &inventory.guests["db"]);
    assert_eq!((web.engine_kind(), web.start.auto), (EngineKind::Native, Auto::Yes));
    assert_eq!(web.start.requires, [name("db")]);
    assert_eq!((web.stop.timeout.as_secs(), db.stop.timeout.as_secs()), (60, 60));
    let amounts: Vec<_> = web.resources.iter().map(|(of, amount)| format!("{} {amount}", of.key())).collect();
    assert_eq!(amounts, ["MemoryMax 512M", "MemoryHigh 384M", "TasksMax 500"]);
    let read = spec(web);
    assert_eq!(read.root, Root::Folder(host.real("roots/web")));
    let lifecycle = &read.lifecycle;
    assert_eq!(
        steps(&lifecycle.before),
        [
            "initialize",
            "prepre-start",
            "network",
            "mount /tmp",
            "remove /.autofsck",
            "remove /forcefsck",
            "create /fastboot",
            ".defaults pre-start",
        ]
    );
    assert_eq!(steps(&lifecycle.after), ["post-start"]);
    assert_eq!(steps(&lifecycle.stop), ["pre-stop", "signal init", "wait", "killseq"]);
    assert_eq!(steps(&lifecycle.ended), ["post-stop"]);
    assert_eq!(steps(&lifecycle.removed), ["postpost-stop"]);
    let db = &spec(db).lifecycle;
    assert_eq!(steps(&db.before), ["network", "empty /var/run", "empty /var/lock", ".defaults pre-start"]);
    assert_eq!(steps(&db.stop), ["cmd.stop", "wait", "killseq"]);
    assert_eq!(db.stop[2].what, Deed::KillSequence(vec![(15, 10), (9, 0)]));
}

#[test]
fn overlays_lie_over_vservers_and_cat_shows_all() {
    let host = host();
    host.vserver(
        "web",
        &[("context", "40001\n"), ("apps/init/mark", "default\n"), ("rlimits/nproc", "50\n")],
    )
    .write("vservers/web/guestd.toml", "devices = [\"/dev/fuse\"]\n[start]\norder = 4\ndelay = 4\n")
    .write("etc/guests/web.toml", "[start]\norder = 5\n[resources]\nTasksMax = 60\n")
    .write("etc/guests/no.toml", "");
    let inventory = host.load();
    begins(&host.said(&inventory), &["etc/guests/no.toml: warning: "]);
    let web = &inventory.guests["web"];
    assert_eq!((web.start.order, web.start.delay.as_secs(), web.start.auto), (5, 4, Auto::Yes));
    assert_eq!(web.resources.get(Resource::TasksMax).unwrap().to_string(), "60");
    let (imported, found) = load::effective(&host.directories, &name("web"));
    let imported = imported.unwrap();
    assert_eq!((found, &imported.guest), (vec![], &**web));
    assert_eq!(spec(web).security.devices, [Path::new("/dev/fuse")]);
    let rows: Vec<_> = imported.effective.iter().map(ToString::to_string).collect();
    for row in [
        format!("engine = \"native\"  # {}", host.path("vservers/web").display()),
        format!("start.auto = true  # {}:1", host.path("vservers/web/apps/init/mark").display()),
        format!("context = \"40001\"  # {}:1", host.path("vservers/web/context").display()),
        "stop.timeout = \"30s\"  # default".to_owned(),
        format!("devices = [\"/dev/fuse\"]  # {}:1", host.path("vservers/web/guestd.toml").display()),
        format!("lifecycle.before.1 = \"network\"  # {}", host.path("vservers/web").display()),
    ] {
        assert!(rows.contains(&row), "{row} is not in {rows:#?}");
    }
    host.write("etc/guests/web.toml", "engine = \"native\"\nhostname = \"x\"\n");
    let said = host.said(&host.load());
    assert!(
        said.iter().any(|said| said.contains("and web is a vserver, whose own configuration says that")),
        "{said:?}"
    );
    assert!(
        said[0].starts_with("etc/guests/web.toml:1: error: engine = \"native\" cannot stand in an overlay"),
        "{said:?}"
    );
}

#[test]
fn links_are_followed_beneath_the_folder_of_all_guests_only() {
    let host = host();
    host.vserver("a", &[("context", "2\n"), ("fstab", "/srv/a /data none bind\n")])
        .vserver("b", &[("context", "3\n")])
        .write(".secret", "b c none bind\n")
        .write("vservers/.defaults/interfaces/dev", "eth0\n")
        .write("vservers/.defaults/killseq", "3\n")
        .link("../a/fstab", "vservers/b/fstab")
        .link("../../../.defaults/killseq", "vservers/b/apps/init/killseq")
        .link("../../.secret", "vservers/b/nice")
        .link("nowhere", "vservers/b/badness")
        .link("context2", "vservers/b/ionice/class")
        .link("class", "vservers/b/ionice/context2")
        .link("..", "vservers/b/rlimits")
        .link("/var/run/vservers/none", "vservers/b/run")
        .link("/dev/null", "vservers/b/cflags");
    host.link(host.path("vservers/.defaults/interfaces").to_str().unwrap(), "vservers/b/ulimits");
    nix::unistd::mkfifo(&host.path("vservers/b/shell"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let inventory = host.load();
    begins(
        &host.said(&inventory),
        &[
            "vservers/b/badness: error: it is a symbolic link to nothing",
            "vservers/b/ionice/class: error: it is a symbolic link that leads in a circle",
            &format!(
                "vservers/b/nice: error: it leads out of the folder of all guests, to {}",
                host.real(".secret").display()
            )
            .replace(&format!("{}/", host.root.path().display()), ""),
            "vservers/b/rlimits: error: it is a symbolic link that leads in a circle",
            "vservers/b/ulimits/dev:1: error: \"eth0\" is ignored",
            "vservers/b/ionice/context2: note: guestd does not know this",
            "vservers/b/shell: note: this is not needed any more",
        ],
    );
    let b = spec(&inventory.guests["b"]);
    assert!(steps(&b.lifecycle.before).contains(&"mount /data"));
    assert_eq!(b.lifecycle.stop.last().unwrap().what, Deed::KillSequence(vec![(3, 0)]));
    assert_eq!(b.process.nice, None);
}

#[test]
fn bad_folders_are_told_and_hurt_no_other() {
    let host = host();
    host.vserver("good", &[("context", "40001\n")])
        .vserver("copy", &[("context", "40002\n")])
        .vserver("twin", &[("context", "40002\n")])
        .write("vservers/rootless/context", "40003\n")
        .write("vservers/not-a-guest/file", "")
        .write("vservers/file", "")
        .link("/", "vservers/host/vdir")
        .link("none", "vservers/lost/vdir")
        .link("vdir", "vservers/round/vdir")
        .link("good", "vservers/alias")
        .link("x", "vservers/b ad/vdir")
        .link("x", "vservers/good~/vdir")
        .vserver("old", &[("apps/init/style", "new\n")]);
    let inventory = host.load();
    begins(
        &host.said(&inventory),
        &[
            "vservers/alias: error: the guest is ignored: its folder is a symbolic link",
            "vservers/b ad: error: the guest is ignored: the name \"b ad\" holds ' '",
            "vservers/host/vdir: error: the guest is refused: vdir (to /) is /, which is the host's",
            "vservers/lost/vdir: error: the guest is refused: vdir (to none) is a symbolic link to nothing",
            "vservers/old/apps/init/style:1: error: \"new\" is not a style of init",
            "vservers/rootless/vdir: error: the guest is refused: vdir is missing",
            "vservers/round/vdir: error: the guest is refused: vdir (to vdir) is a symbolic link that leads in a circle",
            "vservers/twin/context:1: error: the guest is refused: copy has the context 40002 too",
        ],
    );
    assert_eq!(names(&inventory), ["copy", "good"]);
}

#[test]
fn a_name_of_both_is_the_containers() {
    let host = host();
    host.write("lxc/web/config", "").vserver("web", &[("apps/init/mark", "default\n")]);
    let inventory = host.load();
    assert_eq!(inventory.guests["web"].engine_kind(), EngineKind::Lxc);
    let path = host.path("lxc").display().to_string();
    let path = path.strip_prefix(&format!("{}/", host.root.path().display())).unwrap().to_owned();
    begins(
        &host.said(&inventory),
        &[&format!(
            "vservers/web: error: a container in {path} of this name is the one that counts; rename one of them"
        )],
    );
}

fn refresh(host: &Host, inventory: &mut Inventory, guest: &str) -> Vec<String> {
    inventory.refresh(&host.directories, &name(guest));
    host.said(inventory)
}

#[test]
fn one_vserver_can_be_read_again_and_stays_as_it_was_while_it_is_broken() {
    let host = host();
    host.vserver("web", &[("context", "40001\n"), ("nice", "3\n")]).vserver("db", &[("context", "40002\n")]);
    let before = host.load();
    assert_eq!(host.said(&before), [""; 0]);
    let mut now = before.clone();
    assert_eq!(refresh(&host, &mut now, "web"), [""; 0]);
    assert_eq!(now, before, "nothing changed");

    host.write("vservers/web/nice", "4\n").write("vservers/web/apps/init/depends", "db\n");
    assert_eq!(refresh(&host, &mut now, "web"), [""; 0]);
    assert_eq!(spec(&now.guests["web"]).process.nice, Some(4));
    assert_eq!(now.guests["web"].start.requires, [name("db")]);
    assert_ne!(now.guests["web"].fingerprint, before.guests["web"].fingerprint);
    assert_eq!(now, host.load());

    let good = now.guests["web"].clone();
    host.write("vservers/web/nice", "400\n");
    begins(
        &refresh(&host, &mut now, "web"),
        &[
            "vservers/web/nice:1: error: \"400\" is ignored",
            "vservers/web/nice:1: warning: web keeps the settings that it had before",
        ],
    );
    assert_eq!(now.guests["web"], good);
    assert_eq!(load::reload(&host.directories, &now).guests, now.guests);

    host.write("vservers/web/nice", "4\n").write("vservers/web/context", "40002\n");
    begins(
        &refresh(&host, &mut now, "web"),
        &[
            "vservers/web/context:1: error: the guest is refused: db has the context 40002 too",
            "vservers/web/context:1: warning: web keeps",
        ],
    );
    assert_eq!(now.guests["web"], good);

    fs::remove_dir_all(host.path("vservers/web")).unwrap();
    assert_eq!(refresh(&host, &mut now, "web"), [""; 0]);
    assert_eq!(names(&now), ["db"]);
}

#[test]
fn guests_with_one_root_are_told() {
    let host = host();
    host.vserver("a", &[("context", "2\n")]).write("vservers/b/context", "3\n");
    host.link("../a/vdir", "vservers/b/vdir");
    let inventory = host.load();
    begins(&host.said(&inventory), &["vservers/b/vdir: warning: a has the same root"]);
    assert_eq!(names(&inventory), ["a", "b"]);
}

#[test]
fn marks_that_are_no_boot_group_are_told_once() {
    let host = host();
    host.vserver("a", &[("apps/init/mark", "dns\n")]).vserver("b", &[("apps/init/mark", "web\n")]);
    begins(
        &host.said(&host.load()),
        &["etc/guestd.toml: warning: a and 1 more vservers have a mark and are not started"],
    );
}

#[test]
fn a_folder_of_vservers_that_is_written_must_be_there() {
    let host = host();
    fs::remove_dir_all(host.path("vservers")).unwrap();
    begins(&host.said(&host.load()), &["vservers: error: the folder of vservers, named by "]);
}

#[test]
fn large_folders_are_bounded() {
    let host = host();
    host.vserver("web", &[("cflags", &"lock\n".repeat(500_000))]);
    for at in 0..ENTRIES_MAX + 10 {
        host.write(&format!("vservers/web/scripts/pre-start.d/{at:05}"), "");
    }
    fs::set_permissions(host.path("vservers/web/scripts"), fs::Permissions::from_mode(0o755)).unwrap();
    let inventory = host.load();
    let said = host.said(&inventory);
    assert!(said.len() < 200, "{}", said.len());
    assert!(
        said.iter().any(|said| said.starts_with("vservers/web/cflags: error: the file is larger than 1 MiB"))
    );
    assert!(said.iter().any(|said| said.contains("at most 2048 entries")), "{said:#?}");
}
