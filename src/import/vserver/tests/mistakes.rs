//! What is said of bad files, and where.

use super::*;

/// What is found begins so.
fn begins(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

/// A file, what it says, and what is said of it.
const LINES: &[(&str, &str, &str)] = &[
    ("context", "1\n", "context:1: error: \"1\" is ignored; write a number from 2 to 49151"),
    ("context", "49152\n", "context:1: error: \"49152\" is ignored"),
    ("nice", "", "nice: warning: its first line says nothing"),
    ("nice", "\n5\n", "nice: warning: its first line says nothing"),
    ("nice", "25\n", "nice:1: error: \"25\" is ignored; write a number from -20 to 19"),
    ("ionice/class", "best\n", "ionice/class:1: error: \"best\" is ignored"),
    ("badness", "x\n", "badness:1: error: \"x\" is ignored"),
    (
        "personality",
        "linux23\n",
        "personality:1: error: \"linux23\" is not an execution domain of today's kernels; did",
    ),
    ("personality", "linux\nfoo\n", "personality:2: error: \"foo\" is not a flag of personalities"),
    ("uts/nodename", "a b\n", "uts/nodename:1: error: \"a b\" is ignored"),
    ("uts/machine", "vax\n", "uts/machine:1: warning: the machine cannot be called \"vax\""),
    ("name", "www\n", "name:1: warning: guestd calls the guest web, after its folder"),
    ("rlimits/nproc", "many\n", "rlimits/nproc:1: error: \"many\" is ignored"),
    ("rlimits/as", "5\n", "rlimits/as:1: warning: this has no effect: address space"),
    (
        "rlimits/nofile.hard",
        "5\n",
        "rlimits/nofile.hard:1: warning: this has no effect: nofile is not limited",
    ),
    ("rlimits/openfd", "5\n", "rlimits/openfd:1: warning: this has no effect: today's kernels"),
    (
        "rlimits/nprok",
        "5\n",
        "rlimits/nprok:1: error: there is no such limit as this file is called after; did you mean nproc?",
    ),
    ("rlimits/rss.min", "5\n", "rlimits/rss.min:1: warning: a least amount is not kept"),
    ("rlimits/rss.max", "5\n", "rlimits/rss.max: error: a limit is called NAME"),
    ("ulimits/nofiles", "5\n", "ulimits/nofiles:1: error: there is no such limit"),
    ("sched/fill-rate", "5\n", "sched/fill-rate:1: warning: this has no effect without sched/interval"),
    ("sched/tokens", "5\n", "sched/tokens: warning: this has no effect: cgroups have no such bucket"),
    (
        "cgroup/memory.limit_in_bytes",
        "5\n",
        "cgroup/memory.limit_in_bytes:1: error: memory.limit_in_bytes is a control file of cgroup v1 and is refused; use memory.max",
    ),
    ("cgroup/memory.min", "5\n", "cgroup/memory.min:1: warning: guestd does not set memory.min"),
    (
        "cgroup/net_cls.classid",
        "5\n",
        "cgroup/net_cls.classid:1: error: \"net_cls.classid\" is no control file",
    ),
    ("cgroup/cpu.max", "5 0\n", "cgroup/cpu.max:1: error: \"5 0\" is ignored; write a quota"),
    (
        "bcapabilities",
        "KILL\nSYS_ADMNI\n",
        "bcapabilities:2: error: \"SYS_ADMNI\" is not a capability; did you mean CAP_SYS_ADMIN?",
    ),
    (
        "bcapabilities",
        "SYS_ADMIN\n",
        "bcapabilities:1: warning: with CAP_SYS_ADMIN the guest's root can take over",
    ),
    ("bcapabilities", "~SYS_BOOT\n", "bcapabilities:1: warning: without CAP_SYS_BOOT"),
    (
        "ccapabilities",
        "secure_mount\n",
        "ccapabilities:1: warning: secure_mount has no effect: mounts from inside",
    ),
    (
        "ccapabilities",
        "secure_mont\n",
        "ccapabilities:1: error: \"secure_mont\" is not a capability of contexts; did you mean secure_mount?",
    ),
    ("cflags", "hide_netif\n", "cflags:1: note: hide_netif is not needed any more: this is always so"),
    (
        "flags",
        "virt_memm\n",
        "flags:1: warning: \"virt_memm\" is not a flag of contexts; did you mean virt_mem?",
    ),
    ("apps/init/mark", "a,b\n", "apps/init/mark:1: error: the mark is ignored"),
    ("apps/init/depends", "a\n../x\n", "apps/init/depends:2: error: the dependency is ignored"),
    ("apps/init/killseq", "TERM soon\n", "apps/init/killseq:1: error: \"TERM soon\" is ignored"),
    ("apps/init/cmd.start", "init\n", "apps/init/cmd.start:1: error: \"init\" is not an absolute path"),
    ("apps/init/cmd.start-sync", "/x\n", "apps/init/cmd.start-sync: note: this only counts where"),
    (
        "apps/init/environment",
        "A=1\nB\n",
        "apps/init/environment:2: error: \"B\" is ignored; write NAME=VALUE",
    ),
    (
        "apps/init/style",
        "plane\n",
        "apps/init/style:1: error: \"plane\" is not a style of init; did you mean plain?; the guest is refused",
    ),
    ("apps/vshelper/sync-timeout", "0\n", "apps/vshelper/sync-timeout:1: error: \"0\" is ignored"),
    (
        "apps/vshelper/action",
        "restrat\n",
        "apps/vshelper/action:1: error: \"restrat\" is neither restart, async or sync nor",
    ),
    ("apps/vshelper/restart", "#!/bin/sh\n", "apps/vshelper/restart: warning: it is not executable"),
    ("fstab", "/x\n", "fstab:1: error: \"/x\" is ignored; write a line of fstab(5)"),
    (
        "fstab",
        "# a\n/srv/x /../../etc none bind\n",
        "fstab:2: error: the line is ignored: \"/../../etc\" leads out of the guest's root",
    ),
    (
        "fstab",
        "/srv/x data none bind\n",
        "fstab:1: error: the line is ignored: \"data\" is not an absolute path in the guest",
    ),
    (
        "fstab",
        "srv/x /data none bind\n",
        "fstab:1: error: the line is ignored: \"srv/x\" is not an absolute path of the host",
    ),
    ("fstab", "/x /data auto defaults\n", "fstab:1: error: the line is ignored: no type can be guessed"),
    (
        "fstab",
        "/x /data ext4 loop\n",
        "fstab:1: error: the line is ignored: files are not mounted by way of a loop device",
    ),
    (
        "fstab",
        "/x /y none bind,rx\n",
        "fstab:1: error: the line is ignored: its type is \"bind\", which has no option rx; did you mean ro?",
    ),
    ("fstab", "/x /y a/b x\n", "fstab:1: error: the line is ignored: \"a/b\" is no type of file system"),
    ("fstab", "x /y debugfs x\n", "fstab:1: error: the line is ignored: debugfs is the host's own"),
    ("fstab.remote", "x / nfs x\n", "fstab.remote:1: error: the root is mounted by fstab only"),
    ("sysctl/0/setting", "vm.swappiness\n", "sysctl/0/setting:1: error: it has no value"),
    ("sysctl/0/value", "1\n", "sysctl/0: error: this sets nothing"),
    ("interfaces/0/dev", "eth0\n", "interfaces/0: error: the interface is ignored: it has no address"),
    (
        "interfaces/0/ip",
        "192.0.2.300\n",
        "interfaces/0/ip:1: error: \"192.0.2.300\" is ignored; write an address",
    ),
    (
        "interfaces/0/ip",
        "192.0.2.3/24\n",
        "interfaces/0/ip:1: error: the interface is ignored: no device is said",
    ),
    ("interfaces/0/ip", "192.0.2.3/33\n", "interfaces/0/ip:1: error: \"33\" is ignored; write the length"),
    ("netns/interfaces/0/host", "v0\n", "netns/interfaces/0: error: the pair is ignored"),
    ("nonamespace", "", "nonamespace: warning: this has no effect: every guest has a mount namespace"),
    ("dlimits/0/directory", "/\n", "dlimits: warning: this has no effect: use project quotas"),
    ("vdevmap", "", "vdevmap: note: guestd does not know this, and leaves it alone"),
    (
        "apps/inti/style",
        "",
        "apps/inti: note: guestd does not know this, and leaves it alone; did you mean apps/init?",
    ),
];

#[test]
fn bad_lines_are_named_with_file_and_line() {
    for (path, content, expected) in LINES {
        begins(&one(path, content), &[*expected]);
    }
    let sysctl = of(&[("sysctl/0/setting", "vm.swappiness\n"), ("sysctl/0/value", "1\n")]);
    begins(&said(&sysctl), &["sysctl/0/setting:1: error: sysctl vm.swappiness is the whole host's"]);
    let soft = of(&[("ulimits/core.soft", "2\n"), ("ulimits/core.hard", "1\n")]);
    begins(&said(&soft), &["ulimits/core.soft:1: error: the soft limit is above the hard one"]);
}

#[test]
fn interfaces_are_left_out_with_a_reason() {
    let interface = |more: &[(&'static str, &str)]| {
        let mut files = vec![("interfaces/0/ip", "192.0.2.3\n"), ("interfaces/prefix", "24\n")];
        files.extend_from_slice(more);
        said(&of(&files))
    };
    let dev = ("interfaces/dev", "eth0\n");
    begins(
        &interface(&[dev]),
        &["interfaces/0/ip:1: warning: the guest has a network stack of its own, and no gateway"],
    );
    let gw = ("interfaces/0/gw", "192.0.2.1\n");
    assert_eq!(interface(&[dev, gw]), [""; 0]);
    begins(
        &interface(&[dev, gw, ("interfaces/0/nodev", "")]),
        &["interfaces/0/ip:1: warning: 192.0.2.3 is left out"],
    );
    assert_eq!(interface(&[dev, ("interfaces/0/disabled", "")]), [""; 0]);
    begins(
        &interface(&[("interfaces/0/dev", "lo\n")]),
        &["interfaces/0/ip:1: note: the guest has a loopback"],
    );
    begins(
        &interface(&[("interfaces/0/dev", "eth/0\n")]),
        &["interfaces/0/dev:1: error: \"eth/0\" is ignored"],
    );
    let vlan = [("interfaces/0/dev", "eth0.5000\n"), ("interfaces/0/vlandev", "")];
    begins(
        &interface(&vlan),
        &["interfaces/0/dev:1: error: \"eth0.5000\" is ignored; write a device and a VLAN"],
    );
    let mask = [dev, gw, ("interfaces/0/mask", "255.0.255.0\n")];
    assert_eq!(interface(&mask), [""; 0], "the prefix counts");
}

/// What can be at `vdir`, and what is said of it.
fn bad_roots() -> Vec<(Option<What>, &'static str)> {
    let folder = |path| Some(link(path, Kind::Folder));
    vec![
        (None, "vdir: error: the guest is refused: vdir is missing"),
        (
            Some(What::Nothing(NodeError::Dangling)),
            "vdir: error: the guest is refused: vdir (to ../x) is a symbolic link to",
        ),
        (
            Some(What::Nothing(NodeError::Loop)),
            "vdir: error: the guest is refused: vdir (to ../x) is a symbolic link that leads in a circle",
        ),
        (Some(text("")), "vdir: error: the guest is refused: vdir (to ../x) is no folder"),
        (
            Some(link("/dev/null", Kind::Other)),
            "vdir: error: the guest is refused: vdir (to ../x) is no folder",
        ),
        (folder("/"), "vdir: error: the guest is refused: vdir (to ../x) is /, which is the host's"),
        (folder("/usr"), "vdir: error: the guest is refused: vdir (to ../x) is /usr, which is the host's"),
        (
            folder("/etc/vservers"),
            "vdir: error: the guest is refused: vdir (to ../x) is /etc/vservers, which",
        ),
        (
            folder("/etc/vservers/web"),
            "vdir: error: the guest is refused: vdir (to ../x) is /etc/vservers/web",
        ),
    ]
}

#[test]
fn guests_without_a_root_of_their_own_are_refused() {
    let read = |what: Option<What>| {
        let entries = vec![("context", text("40001\n"))];
        let mut guest = tree("/etc/vservers/web", entries);
        if let Some(what) = what {
            guest.nodes.insert("vdir".to_owned(), Node { what, link: Some("../x".into()) });
        }
        super::super::read(&name(), &guest, &tree("/etc/vservers/.defaults", vec![]), None)
    };
    for (what, expected) in bad_roots() {
        let config = read(what);
        begins(&said(&config), &[expected]);
        assert!(config.is_refused() && config.guest(name(), &Layer::default(), Layer::default()).is_none());
    }
    assert!(!read(Some(link("/vservers/web", Kind::Folder))).is_refused());
    let style = of(&[("apps/init/style", "plane\n")]);
    assert!(style.is_refused());
    let rootless = of(&[("fstab", "/x /data ext4 x\nUUID=x / auto defaults\n")]);
    assert!(rootless.is_refused());
    assert_eq!(
        said(&rootless).last().unwrap(),
        "fstab:2: error: the guest is refused: its root cannot be mounted by this line; mend or remove it"
    );
}

#[test]
fn entries_that_cannot_be_used_are_named() {
    let nothing = |error| What::Nothing(error);
    for (path, what, expected) in [
        ("nice", nothing(NodeError::Dangling), "nice: error: it is a symbolic link to nothing"),
        ("fstab", nothing(NodeError::NotRegular), "fstab: error: it is not a regular file"),
        (
            "interfaces",
            nothing(NodeError::Loop),
            "interfaces: error: it is a symbolic link that leads in a circle",
        ),
        (
            "scripts/pre-start",
            nothing(NodeError::Dangling),
            "scripts/pre-start: error: it is a symbolic link to nothing",
        ),
        (
            "fstab",
            link("/srv/fstab", Kind::File),
            "fstab: error: it leads out of the folder of all guests, to /srv/fstab",
        ),
        (
            "scripts/pre-start",
            link("/srv", Kind::Folder),
            "scripts/pre-start: error: it leads to /srv, which is no file",
        ),
        ("rlimits", text(""), "rlimits: error: it is a file and should be a folder"),
        ("nice", What::Folder, "nice: error: it is a folder and should be a file"),
    ] {
        begins(&said(&read(vec![(path, what)])), &[expected]);
    }
    // A link to what is not read is no matter.
    assert_eq!(said(&read(vec![("cache", nothing(NodeError::Dangling))])), [""; 0]);
    let defaults =
        vec![("scripts/pre-start", nothing(NodeError::Loop)), ("apps/vshelper/action", text("x\n"))];
    let found = said(&read_both(vec![], defaults));
    begins(
        &found,
        &[
            "/etc/vservers/.defaults/scripts/pre-start: error: it is a symbolic link that leads in a circle",
            "/etc/vservers/.defaults/apps/vshelper/action:1: error: \"x\" is neither",
        ],
    );
}

#[test]
fn methods_of_the_helper_are_looked_for() {
    let methods = vec![("apps/vshelper-methods/mail", program()), ("apps/vshelper-methods/text", text(""))];
    let action =
        |method: &str| said(&read_both(vec![("apps/vshelper/action", text(method))], methods.clone()));
    for good in ["restart", "async", "sync", "mail"] {
        assert_eq!(action(good), [""; 0], "{good}");
    }
    for bad in ["text", "../mail", "none"] {
        assert_eq!(action(bad).len(), 1, "{bad}");
    }
}

#[test]
fn guests_that_would_be_held_less_are_not_started() {
    let refused = |path: &'static str, content: &str| spec(&of(&[(path, content)])).refused;
    for (path, content) in [
        ("bcapabilities", "~SYS_BOOOT\n"),
        ("rlimits/rss", "much\n"),
        ("ulimits/nofil", "5\n"),
        ("cgroup/memory.limit_in_bytes", "5\n"),
        ("cpuset/cpus", "x\n"),
        ("sched/fill-rate", "x\n"),
    ] {
        let expected = format!("/etc/vservers/web/{path}:1: what is written there cannot be used");
        assert!(refused(path, content).is_some_and(|why| why.starts_with(&expected)), "{path}");
    }
    for (path, content) in
        [("nice", "x\n"), ("apps/init/mark", "a b\n"), ("rlimits/as", "5\n"), ("cflags", "x\n")]
    {
        assert_eq!(refused(path, content), None, "{path}");
    }
}

#[test]
fn the_folder_of_all_roots_is_no_root() {
    let base = vec![("vdirbase", link("/vservers", Kind::Folder))];
    let read = |vdir| read_both(vec![("vdir", link(vdir, Kind::Folder))], base.clone());
    begins(
        &said(&read("/vservers")),
        &["vdir: error: the guest is refused: vdir (to /vservers) is /vservers, where all"],
    );
    assert_eq!(said(&read("/vservers/web")), [""; 0]);
}
