//! Bad files, from the start.

use std::{fs, os::unix::fs::symlink};

use super::{WRITTEN, host, is_told, nothing_else_is_affected, out, told, write};

#[test]
fn an_lxcpath_that_cannot_be_read() {
    let mut host = host();
    symlink(host.at("round"), host.at("round")).expect("a link to itself");
    let paths = format!("[{:?}, {:?}]", host.at("round"), host.lxcpath());
    write(&host.at("etc/guestd.toml"), format!("{WRITTEN}\n[lxc]\npath = {paths}\n"));
    host.start_daemon();
    let by = format!("the lxcpath, named by {}:3, cannot be read", host.at("etc/guestd.toml").display());
    is_told(&host, "round", &by);
    nothing_else_is_affected(&host);
    let list = host.autostart(&["-L", "-P", host.at("round").to_str().expect("text")]);
    assert_eq!(list.status.code(), Some(1));
    assert!(told(&list).starts_with("autostart: cannot read the lxcpath "), "{}", told(&list));
}

#[test]
fn configs_that_lxc_would_refuse() {
    let mut host = host();
    let mut long = b"lxc.start.delay = 5\nlxc.group = ".to_vec();
    long.resize(10 * 1024 * 1024, b'x');
    for (name, config, line, words) in [
        ("nul", &b"lxc.start.delay = 5\n\nlxc.group = a\0b\n"[..], 3, "the line holds a NUL byte"),
        ("long", &long, 2, "the line is longer than 65536 bytes"),
        (
            "order",
            b"lxc.start.delay = 5\nlxc.start.order = abc\n",
            2,
            "lxc.start.order must be a whole number",
        ),
        ("group", b"lxc.start.delay = 5\nlxc.group = a/b web\n", 2, "the name \"a/b\" holds '/'"),
    ] {
        write(&host.lxcpath().join(name).join("config"), config);
        host.start_daemon();
        is_told(&host, &format!("lxc/{name}/config:{line}"), words);
        // What can be read counts.
        assert_eq!(host.list()[name]["delay"], 5, "{name}");
        let cat = host.guestctl(&["cat", name]);
        assert_eq!(cat.status.code(), Some(0));
        assert!(told(&cat).contains(words) && out(&cat).contains("\"5s\""), "{}{}", told(&cat), out(&cat));
        // Without a root filesystem, LXC can do nothing with it, and says so for this guest alone.
        let start = host.guestctl(&["start", name]);
        assert_eq!(start.status.code(), Some(1));
        let said = told(&start);
        let is_said = said.starts_with(&format!("guestctl: {name}: ")) && said.contains("could not start it");
        assert!(is_said, "{said}");
        host.kill_daemon();
    }
    host.start_daemon();
    nothing_else_is_affected(&host);
}

#[test]
fn an_include_that_goes_round_in_a_circle() {
    let mut host = host();
    let (config, other) = (host.at("lxc/circle/config"), host.at("other"));
    write(&config, format!("lxc.start.delay = 5\nlxc.include = {}\n", other.display()));
    write(&other, format!("lxc.include = {}\n", config.display()));
    host.start_daemon();
    let words = format!("goes round in a circle: {} includes {}", config.display(), other.display());
    is_told(&host, "other:1", &words);
    assert_eq!(host.list()["circle"]["delay"], 5);
    nothing_else_is_affected(&host);
    // LXC's own tools, which clean up, would follow it for ever.
    fs::remove_dir_all(host.at("lxc/circle")).expect("the container goes");
}

#[test]
fn names_of_300_characters_in_lists() {
    let mut host = host();
    let web = host.named("web");
    host.guest(&web, &[]);
    let long = "n".repeat(300);
    let overlay = format!("etc/guests/{web}.toml");
    write(&host.at(&overlay), format!("[start]\nafter = [\"{}\", \"{long}\"]\n", host.good));
    let paths = format!("[lxc]\npath = [{:?}]\n", host.lxcpath());
    write(&host.at("etc/guestd.toml"), format!("{WRITTEN}\nboot-groups = [\"{long}\", \"\"]\n{paths}"));
    host.start_daemon();
    is_told(&host, &format!("{overlay}:2"), "has 300 characters; at most 64");
    is_told(&host, "etc/guestd.toml:2", "has 300 characters; at most 255");
    nothing_else_is_affected(&host);
    host.autostart_ok(&["--boot"]);
    assert_eq!(host.in_phase("up"), [host.good.as_str()], "the rest of the list counts");
    host.guestctl_ok(&["start", &web]);
}

#[test]
fn two_guests_of_one_name() {
    let mut host = host();
    write(&host.at(format!("more/{}/config", host.good)), "lxc.start.delay = 7\n");
    write(&host.at("more/other/config"), "lxc.start.delay = 7\n");
    let paths = format!("[{:?}, {:?}]", host.lxcpath(), host.at("more"));
    write(&host.at("etc/guestd.toml"), format!("{WRITTEN}\n[lxc]\npath = {paths}\n"));
    host.start_daemon();
    let words = format!("a container of this name lies in {} too", host.lxcpath().display());
    is_told(&host, &format!("more/{}", host.good), &words);
    let delays = host.list();
    assert_eq!((&delays[&host.good]["delay"], &delays["other"]["delay"]), (&0.into(), &7.into()));
    nothing_else_is_affected(&host);
    // Whoever is left counts.
    fs::rename(host.lxcpath().join(&host.good), host.at("lxc/fine")).expect("a new name");
    host.until(&host.good, "the other one", |good| good["delay"] == 7);
    assert_eq!(host.guestctl(&["check"]).status.code(), Some(0));
}

#[test]
fn settings_that_are_broken_at_the_start_are_the_defaults() {
    let mut host = host();
    let paths = format!("[lxc]\npath = [{:?}]\n", host.lxcpath());
    write(&host.at("etc/guestd.toml"), format!("order = \"lowest-first\nmax-starting = \"many\"\n{paths}"));
    host.start_daemon();
    is_told(&host, "etc/guestd.toml:1", "not valid TOML");
    is_told(&host, "etc/guestd.toml:2", "max-starting must be");
    let status = host.guestctl_ok(&["status", "--json"]);
    assert!(status.contains("\"order\":\"highest-first\""), "{status}");
    nothing_else_is_affected(&host);
}

#[test]
fn a_config_that_cannot_be_read_and_a_guest_that_does_not_exist_differ() {
    let mut host = host();
    fs::create_dir_all(host.at("lxc/odd/config")).expect("a folder in the place of a file");
    host.start_daemon();
    is_told(&host, "lxc/odd/config", "the file is not a regular file; the container is not managed");
    let (odd, none) = (host.guestctl(&["cat", "odd"]), host.guestctl(&["cat", "none"]));
    let path = host.at("lxc/odd/config");
    let said = format!("guestctl: {} is not a regular file\n", path.display());
    assert_eq!((odd.status.code(), told(&odd)), (Some(1), said));
    assert_eq!(none.status.code(), Some(4));
    assert!(told(&none).starts_with("guestctl: no guest is named \"none\""), "{}", told(&none));
    nothing_else_is_affected(&host);
}
