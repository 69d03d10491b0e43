//! What lies in `examples/` works as it stands: the settings, the programs, and the manual pages beside them.

mod host;

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use guestd::{
    daemon::load::{self, Directories},
    model::{
        Auto, EngineSpec, HookStage, LinkKind, Network, Pressure, Ready, Restart, RestartPolicy, native::Root,
    },
};
use host::{Host, SOON};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_settings_are_free_of_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    let (lxc, config) = (folder.path().join("lxc"), folder.path().join("etc"));
    fs::create_dir_all(config.join("guests")).expect("a folder");
    for name in ["db", "mail", "web"] {
        let overlay = format!("{name}.toml");
        fs::create_dir_all(lxc.join(name)).expect("a folder");
        fs::write(lxc.join(name).join("config"), "lxc.uts.name = x\n").expect("a config");
        fs::copy(at("examples/guests").join(&overlay), config.join("guests").join(&overlay)).expect("a copy");
    }
    let settings = fs::read_to_string(at("examples/guestd.toml")).expect("the settings");
    let settings = settings.replace("/var/lib/lxc\"]", &format!("{}\"]", lxc.display()));
    fs::write(config.join("guestd.toml"), settings).expect("the settings");

    let places = ["run", "state"].map(|name| Some(folder.path().join(name)));
    let [runtime, state] = places;
    let inventory = load::load(&Directories::new(Some(config), runtime, state));
    assert_eq!(inventory.diagnostics(), []);
    let guests: Vec<_> = inventory.guests.values().collect();
    let [db, mail, web] = guests.as_slice() else { panic!("not three guests: {guests:?}") };
    assert_eq!((db.start.order, db.start.delay), (100, Duration::from_secs(5)));
    assert_eq!(web.start.requires, std::slice::from_ref(&db.name));
    assert_eq!(inventory.settings.pressure, Pressure::default());
    assert_eq!((db.restart, &db.ready), (Restart::default(), &Ready::default()));
    assert_eq!((mail.start.auto, mail.restart.policy), (Auto::LastState, RestartPolicy::Always));
    assert_eq!(mail.ready.when.to_string(), "exec /usr/bin/test -S /var/spool/postfix/public/cleanup");
    assert_eq!(
        mail.health.as_ref().map(|health| health.probe.to_string()).as_deref(),
        Some("tcp 10.0.3.8:25")
    );
    assert_eq!(mail.hooks.of(HookStage::PreStart)[0].program(), "/usr/bin/mountpoint");
    assert_eq!(web.reboot.action.to_string(), "/etc/guestd/reboot-decision");
}

/// What a folder of native guests is read as; nothing is wrong in it.
fn native(examples: &str) -> load::Inventory {
    let folder = tempfile::tempdir().expect("a folder");
    let [lxc, config, runtime, state] = ["lxc", "etc", "run", "state"].map(|name| folder.path().join(name));
    for folder in [&lxc, &config.join("guests")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(config.join("guestd.toml"), format!("[lxc]\npath = [{lxc:?}]\n")).expect("the settings");
    for example in fs::read_dir(at(examples)).expect("examples") {
        let example = example.expect("an entry").path();
        let name = example.file_name().expect("a name");
        fs::copy(&example, config.join("guests").join(name)).expect("a copy");
    }
    let inventory = load::load(&Directories::new(Some(config), Some(runtime), Some(state)));
    assert_eq!(inventory.diagnostics(), []);
    inventory
}

#[test]
fn the_native_guests_are_free_of_findings() {
    let inventory = native("examples/native/guests");
    let starts = inventory.guests.values().map(|guest| (guest.name.as_str(), guest.start.order));
    assert_eq!(starts.collect::<Vec<_>>(), [("db", 30), ("web", 20), ("worker", 10)]);
    for guest in inventory.guests.values() {
        let EngineSpec::Native(spec) = &guest.engine else { panic!("{guest:?}") };
        assert_eq!((&spec.root, spec.user_namespace), (&Root::VolatileHost, false));
        assert_eq!((guest.start.auto, guest.start.groups.names().len()), (Auto::Yes, 1));
    }
}

#[test]
fn the_networks_are_what_their_names_say() {
    let inventory = native("examples/native/network");
    let mut kinds = Vec::new();
    for guest in inventory.guests.values() {
        let EngineSpec::Native(spec) = &guest.engine else { panic!("{guest:?}") };
        let Network::Links(links) = &spec.network else { panic!("{spec:?}") };
        kinds.extend(links.iter().map(|link| (guest.name.as_str(), link.kind.clone())));
    }
    assert!(matches!(
        kinds.as_slice(),
        [
            ("bridge", LinkKind::Veth { .. }),
            ("device", LinkKind::Physical { .. }),
            ("device", LinkKind::Vlan { .. }),
            ("macvlan", LinkKind::Macvlan { .. }),
        ]
    ));
}

#[test]
fn the_programs_tell_what_happens_on_a_host() {
    let mut host = Host::new("");
    let decision = at("examples/reboot-decision");
    host.guest("web", &[]);
    // LXC names it in quotes, which busctl escapes like all that is not ASCII.
    host.guest("bad", &["lxc.rootfs.path = dir:/nonexistent/übung"]);
    let overlay = format!("[reboot]\naction = \"{}\"\n", decision.display());
    fs::write(host.at("etc/guests/web.toml"), overlay).expect("an overlay");
    host.start_daemon();

    let failed = || host.command(at("examples/failed-guests")).output().expect("it runs");
    assert_eq!((failed().status.code(), failed().stdout), (Some(0), Vec::new()));

    let mut watch = host.command(example("watch")).stdout(Stdio::piped()).spawn().expect("it runs");
    let output = BufReader::new(watch.stdout.take().expect("a pipe"));
    let (line, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
    let until = |wanted: &str| {
        while !lines.recv_timeout(SOON).expect(wanted).starts_with(wanted) {}
    };
    until("web is down");
    host.guestctl_ok(&["start", "web"]);
    until("web is up");
    assert_eq!(host.guestctl(&["start", "bad"]).status.code(), Some(1));
    until("bad is failed: could not start it");
    host.reboot_inside("web");
    assert_eq!(host.status("web")["restarts"], 1, "the script lets it");
    watch.kill().expect("a kill");
    watch.wait().expect("its end");

    let told = failed();
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(1), "{text}");
    let status = host.status("bad");
    let reason = status["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("could not start it") && reason.contains('"') && reason.contains('ü'),
        "{reason}"
    );
    assert_eq!(text, format!("bad: {reason}\n"));
}

/// A line without what differs from run to run: numbers, and the blanks that make up for their width.
fn masked(line: &str) -> String {
    let numbers = line.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
    let words = numbers.collect::<Vec<_>>().join("#");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let programs = Path::new(env!("CARGO_BIN_EXE_guestd")).parent().expect("a folder");
    let demo = Command::new(at("scripts/demo"))
        .env("GUESTD_BIN", programs)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("the demo");
    let printed = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{printed}{}", String::from_utf8_lossy(&demo.stderr));
    let printed: HashSet<String> = printed.lines().map(masked).collect();
    let readme = fs::read_to_string(at("README.md")).expect("the README");
    let section = readme.split("\n## ").find(|section| section.starts_with("Five minutes")).expect("it");
    let shown = section.split("```").skip(1).step_by(2).flat_map(str::lines).filter(|line| !line.is_empty());
    // What is being started at one moment is only seen where somebody looks at that moment.
    let lasting = shown.filter(|line| !(line.starts_with("autostart: ") && line.contains(" start: ")));
    let missing: Vec<_> = lasting.filter(|line| !printed.contains(&masked(line))).collect();
    assert!(missing.is_empty(), "{missing:#?}\n{printed:#?}");
}

/// The program that Cargo makes of an example. "cargo test --test examples" alone does not make them.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("target/PROFILE");
    let profile = folder.file_name().filter(|name| *name != "debug").unwrap_or(OsStr::new("dev"));
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet", "--example", name, "--profile"])
        .arg(profile)
        .current_dir(at(""))
        .status()
        .expect("cargo");
    assert!(built.success());
    folder.join("examples").join(name)
}

#[test]
fn manual_pages_are_clean_roff() {
    let generated = tempfile::tempdir().expect("a folder");
    let guestctl = Command::new(env!("CARGO_BIN_EXE_guestctl"))
        .arg("generate")
        .arg(generated.path())
        .status()
        .expect("guestctl");
    assert!(guestctl.success());
    let pages = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let sections = ["1", "5", "8"];
        entries
            .filter(|path| path.extension().is_some_and(|end| sections.iter().any(|s| end == *s)))
            .collect()
    };
    let (written, generated) = (pages(&at("man")), pages(generated.path()));
    assert!(written.len() >= 3 && generated.len() > 15, "{written:?} {generated:?}");
    for page in written.iter().chain(&generated) {
        let groff =
            Command::new("groff").args(["-t", "-ww", "-man", "-Tutf8"]).arg(page).output().expect("groff");
        let warnings = String::from_utf8_lossy(&groff.stderr);
        assert!(groff.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    }
}
