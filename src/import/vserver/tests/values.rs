//! What comes of good values.

use super::*;
use crate::model::{
    Capabilities, Capability, Groups,
    native::{InitProgram, LimitKind, ResourceLimit},
};

#[test]
fn marks_are_groups_and_marked_guests_start_at_boot() {
    let config = of(&[
        ("apps/init/mark", "default\n# no\ndns\ndefault\n"),
        ("apps/init/depends", "db\n\n#x\ndns\ndb\n"),
    ]);
    assert_eq!(said(&config), [""; 0]);
    let start = guest(&config).start;
    assert_eq!(start.auto, Auto::Yes);
    assert_eq!(start.groups.names().iter().map(ToString::to_string).collect::<Vec<_>>(), ["default", "dns"]);
    assert_eq!(start.requires.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db", "dns"]);
    let unmarked = guest(&of(&[])).start;
    assert_eq!((unmarked.auto, unmarked.groups), (Auto::No, Groups::Null));
    let disabled = guest(&of(&[("apps/init/mark", "default\n"), ("disabled", "")])).start;
    assert_eq!((disabled.auto, disabled.groups.names().len()), (Auto::No, 1));
}

#[test]
fn processes_are_treated_as_said() {
    let config = of(&[
        ("nice", "5\n"),
        ("ionice/class", "3\n"),
        ("ionice/priority", "4\n"),
        ("badness", "-500\n"),
        ("personality", "linux32\nPER_LINUX\n"),
        ("uts/nodename", "web.example.org\n"),
        ("uts/domainname", "example\n"),
        ("cpuset/cpus", "0-1,3\n"),
        ("sysctl/0/setting", "net/ipv4/ip_forward\n"),
        ("sysctl/0/value", "1\n"),
        ("apps/init/environment", "LANG=C\nA=b=c\n"),
    ]);
    let read = spec(&config);
    assert_eq!((read.process.nice, read.process.io_priority), (Some(5), Some((3, 0))));
    assert_eq!((read.process.oom_score_adjust, read.process.personality), (Some(-500), Some(8)));
    assert_eq!(
        (read.hostname.as_deref(), read.domainname.as_deref()),
        (Some("web.example.org"), Some("example"))
    );
    assert_eq!(read.process.processors.as_deref(), Some("0-1,3"));
    assert_eq!(read.process.sysctl, [("net.ipv4.ip_forward".to_owned(), "1".to_owned())]);
    let pairs: Vec<_> = read.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(pairs, ["LANG=C", "A=b=c", "PREVLEVEL=N", "RUNLEVEL=3"]);
    assert!(!read.user_namespace && read.root == Root::Folder("/vservers/web".into()));
    assert!(matches!(read.helper, Helper::Vshelper { program: None, context: 40001, .. }));
    assert_eq!(said(&config).len(), 1, "{:?}", said(&config));
    assert_eq!(spec(&of(&[("uts/machine", "i686\n")])).process.personality, Some(8));
    assert_eq!(spec(&of(&[("ionice/priority", "4\n")])).process.io_priority, Some((2, 4)));
}

#[test]
fn limits_of_guests_become_resources() {
    for (files, expected) in [
        (&[("rlimits/nproc", "100\n")][..], &[(Resource::TasksMax, "100")][..]),
        (&[("rlimits/nproc.hard", "1K"), ("rlimits/nproc.soft", "10")], &[(Resource::TasksMax, "1024")]),
        (&[("rlimits/rss", "65536\n")], &[(Resource::MemoryMax, "256M")]),
        (
            &[("rlimits/rss.hard", "64K\n"), ("rlimits/rss.soft", "32K\n")],
            &[(Resource::MemoryMax, "256M"), (Resource::MemoryHigh, "128M")],
        ),
        (&[("rlimits/anon.hard", "256\n")], &[(Resource::MemoryMax, "1M")]),
        (&[("rlimits/rss", "inf\n")], &[(Resource::MemoryMax, "infinity")]),
        (
            &[("sched/fill-rate", "30\n"), ("sched/interval", "100\n"), ("sched/prio-bias", "5\n")],
            &[(Resource::CpuQuota, "30%"), (Resource::CpuWeight, "33")],
        ),
        (&[("sched/prio-bias", "-5\n")], &[(Resource::CpuWeight, "305")]),
        (
            &[("schedule", "1\n4\n500\n100\n600\n0\n")],
            &[(Resource::CpuQuota, "25%"), (Resource::CpuWeight, "100")],
        ),
        (
            &[
                ("cgroup/memory.max", "1M\n"),
                ("cgroup/cpu.max", "50000 100000\n"),
                ("cgroup/pids.max", "max\n"),
            ],
            &[(Resource::MemoryMax, "1M"), (Resource::CpuQuota, "50%"), (Resource::TasksMax, "infinity")],
        ),
    ] {
        let config = of(files);
        let errors: Vec<_> = said(&config).into_iter().filter(|found| !found.contains(": note: ")).collect();
        assert_eq!(errors, [""; 0], "{files:?}");
        for of in Resource::ALL {
            let wanted =
                expected.iter().find(|(which, _)| *which == of).map(|(_, amount)| (*amount).to_owned());
            assert_eq!(resource(&config, of), wanted, "{files:?}: {of:?}");
        }
    }
}

#[test]
fn limits_of_processes_are_those_of_the_kernel() {
    let limits = |files: &[(&'static str, &str)]| spec(&of(files)).process.limits;
    let limit = |kind, soft, hard| ResourceLimit { kind, soft, hard };
    assert_eq!(limits(&[("ulimits/nofile", "1k\n")]), [limit(LimitKind::Nofile, Some(1000), Some(1000))]);
    assert_eq!(
        limits(&[
            ("ulimits/core.soft", "0\n"),
            ("ulimits/core.hard", "inf\n"),
            ("ulimits/nproc.hard", "5\n")
        ]),
        [limit(LimitKind::Core, Some(0), None), limit(LimitKind::Nproc, Some(5), Some(5))]
    );
    assert_eq!(
        limits(&[("ulimits/core.soft", "inf\n"), ("ulimits/core.hard", "1\n")]),
        [limit(LimitKind::Core, Some(1), Some(1))]
    );
}

#[test]
fn capabilities_are_added_and_taken_away() {
    let named = |name: &str| Capability::named(name).unwrap();
    let plain = Capabilities::PLAIN;
    let all = Capability::all().fold(Capabilities::NONE, Capabilities::with);
    for (lines, expected) in [
        ("", plain),
        ("NET_ADMIN\n", plain.with(named("net_admin"))),
        ("cap_net_admin, CAP_NET_RAW\n", plain.with(named("net_admin")).with(named("net_raw"))),
        ("~CAP_KILL\n!chown\n", plain.without(named("kill")).without(named("chown"))),
        ("^12\n", plain.with(named("net_admin"))),
        ("0x2000\n", plain.with(named("net_raw"))),
        ("none\nKILL\n", Capabilities::NONE.with(named("kill"))),
        ("all\n~MKNOD\n", all.without(named("mknod"))),
        ("~all\n", Capabilities::NONE),
    ] {
        assert_eq!(spec(&of(&[("bcapabilities", lines)])).security.capabilities, expected, "{lines:?}");
    }
    let context = spec(&of(&[("ccapabilities", "RAW_ICMP\n~set_rlimit\nVXC_SECURE_MOUNT\n")]));
    assert_eq!(context.security.capabilities, plain.with(named("net_raw")));
}

#[test]
fn styles_say_what_is_process_1() {
    let program = |files: &[(&'static str, &str)]| spec(&of(files)).init.program;
    let exec = |words: &[&str]| InitProgram::Exec(words.iter().map(|word| (*word).to_owned()).collect());
    let style = |style: &'static str| [("apps/init/style", style)];
    assert_eq!(program(&style("plain\n")), exec(&["/sbin/init"]));
    assert_eq!(program(&style("minit\n")), exec(&["/sbin/minit-start"]));
    assert_eq!(
        program(&[("apps/init/style", "plain"), ("apps/init/runlevel", "2")]),
        exec(&["/sbin/init", "2"])
    );
    assert_eq!(
        program(&[("apps/init/style", "plain"), ("apps/init/cmd.start", "/bin/i\n# x\n a b \n")]),
        exec(&["/bin/i", "a b"])
    );
    assert_eq!(program(&style("arch\n")), InitProgram::Once(vec!["/etc/rc.multi".to_owned()]));
    for (files, runs, level) in [
        (&[][..], "/etc/init.d/rc /etc/rc.d/rc", "3"),
        (&[("apps/init/runlevel.start", "2")], "/etc/init.d/rc /etc/rc.d/rc", "2"),
        (&style("gentoo"), "/lib/rc/sh/init-vserver.sh", "default"),
        (&style("openrc"), "/sbin/openrc", "default"),
    ] {
        let InitProgram::Once(argv) = program(files) else { panic!("{files:?}") };
        assert!(argv[2].contains(runs) && argv.last().is_some_and(|last| last == level), "{argv:?}");
    }
}

#[test]
fn mounts_are_below_the_root_and_without_devices() {
    let steps = |fstab: &'static str| {
        let lifecycle = spec(&of(&[("fstab", fstab)])).lifecycle;
        let mounts = lifecycle.before.into_iter().filter_map(|step| match step.what {
            Deed::Mount(mount) => Some(mount),
            _ => None,
        });
        mounts
            .map(|mount| {
                let options = mount.options.join(",");
                let may = if mount.optional { " optional" } else { "" };
                format!("{} {} {} {options}{may}", mount.source, mount.target, mount.kind)
            })
            .collect::<Vec<_>>()
    };
    for (line, expected) in [
        ("/dev/vg/x /data ext4 defaults 0 2", "/dev/vg/x /data ext4 nodev"),
        ("/srv/x /data none bind,ro 0 0", "/srv/x /data bind ro,nodev"),
        ("/srv/x /data auto rbind,dev", "/srv/x /data bind rbind"),
        ("none /tmp tmpfs size=16m,mode=1777 0 0", "none /tmp tmpfs size=16m,mode=1777,nodev"),
        ("UUID=12-34 //a/./b/ xfs nofail,x-y=z", "/dev/disk/by-uuid/12-34 /a/b xfs nodev optional"),
        ("/srv/a\\040b /c\\134d bind bind", "/srv/a b /c\\d bind nodev"),
        ("none /var/tmp tmpfs nodev,nosuid", "none /var/tmp tmpfs nodev,nosuid"),
        ("/dev/vg/x //./ ext4 ro", "/dev/vg/x / ext4 ro,nodev"),
    ] {
        assert_eq!(steps(line), [expected], "{line}");
    }
    for line in [
        "none /proc proc defaults 0 0",
        "none /dev/pts devpts gid=5",
        "/dev /dev none bind",
        "x swap swap y",
        "/dev/x /y ext4 noauto",
        "none /sys/fs/cgroup tmpfs x",
        "none /dev/shm tmpfs x",
    ] {
        assert_eq!(steps(line), [""; 0], "{line}");
        assert_eq!(one("fstab", line).len(), 1, "{line}");
    }
}

#[test]
fn the_stop_ends_within_its_time() {
    let stop = |files: &[(&'static str, &str)], overlay: Layer| {
        let guest = of(files).guest(name(), &Layer::default(), overlay).unwrap();
        let EngineSpec::Native(spec) = guest.engine else { panic!() };
        let deeds =
            spec.lifecycle.stop.iter().rev().take(2).map(|step| step.what.clone()).collect::<Vec<_>>();
        (guest.stop.timeout.as_secs(), deeds)
    };
    let kills = || Deed::KillSequence(vec![(15, 5), (9, 0)]);
    let plain = ("apps/init/style", "plain");
    assert_eq!(stop(&[], Layer::default()), (30, vec![kills(), Deed::Await(1)]));
    assert_eq!(stop(&[plain], Layer::default()), (30, vec![kills(), Deed::Await(24)]));
    let timeout = ("apps/vshelper/sync-timeout", "90\n");
    assert_eq!(stop(&[plain, timeout], Layer::default()), (90, vec![kills(), Deed::Await(84)]));
    let killseq = ("apps/init/killseq", "SIGINT 2\n15\n1\n9\n");
    let own = || Deed::KillSequence(vec![(2, 2), (15, 1), (9, 0)]);
    assert_eq!(stop(&[plain, killseq], Layer::default()), (30, vec![own(), Deed::Await(26)]));
    let longer = std::time::Duration::from_secs(120);
    let over =
        Layer { stop_timeout: Some(Sourced::new(longer, Origin::file(Path::new("/o")))), ..Layer::default() };
    assert_eq!(stop(&[plain, timeout], over), (120, vec![kills(), Deed::Await(114)]));
}
