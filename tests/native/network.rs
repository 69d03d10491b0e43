//! A guest's network, from its settings to what it reaches; in a host's network namespace of each test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use guestd::{
    engine::{Engine, ErrorKind, Observation, Probe, Request},
    import::{Text, overlay},
    model::{Deed, EngineSpec, Guest, NativeSpec, Network, Step, WaitStatus, native::Security},
};

use super::native_host::{Bench, eventually, shell};

/// Parts this test's thread, and what it starts, from the machine's network.
pub fn apart() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
}

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the settings of a guest make of these lines.
fn network(lines: &str) -> Network {
    let text = format!("engine = \"native\"\nroot = \"/srv/x\"\n{lines}");
    let text = Text { bytes: text.into_bytes(), cut: false };
    let overlay = overlay::read(Path::new("/x.toml"), &text);
    assert_eq!(overlay.diagnostics, []);
    overlay.native.network.expect("a network").value
}

/// One interface in the bridge `gbr0`, of which the host has 10.78.0.1.
pub fn veth() -> Network {
    network(
        "[[network]]\ntype = \"veth\"\nbridge = \"gbr0\"\naddress = \"10.78.0.5/24\"\ngateway = \"10.78.0.1\"\n",
    )
}

/// That bridge.
pub fn bridge() {
    ip("link add gbr0 address 02:00:00:00:00:01 type bridge");
    ip("addr add 10.78.0.1/24 dev gbr0");
    ip("link set gbr0 up");
}

/// A device of the host, one end of a pair; whoever is behind the other end has 10.79.0.1.
fn device(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}peer"));
    ip(&format!("addr add 10.79.0.1/24 dev {name}peer"));
    ip(&format!("link set {name}peer up"));
    ip(&format!("link set {name} up"));
}

const MACVLAN: &str = "[[network]]\ntype = \"macvlan\"\nparent = \"up0\"\naddress = \"10.79.0.5/24\"\n";

/// An init that ends when it is asked to.
const OBEDIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";

fn connected(bench: &mut Bench, name: &str, user_namespace: bool, network: Network) -> Arc<Guest> {
    bench.guest(name, |spec| {
        spec.user_namespace = user_namespace;
        spec.security = Security::usual(user_namespace);
        spec.network = network;
        spec.init.program = shell(OBEDIENT);
        spec.init.halt_signal = Some(15);
    })
}

/// The same guest after a change of its settings.
fn changed(guest: &Guest, edit: impl FnOnce(&mut NativeSpec)) -> Arc<Guest> {
    let mut guest = guest.clone();
    let EngineSpec::Native(spec) = &mut guest.engine else { panic!("{guest:?}") };
    edit(Arc::make_mut(spec));
    Arc::new(guest)
}

/// The host must hear an answer from there.
#[track_caller]
fn reaches(address: &str) {
    let ping = Command::new("/bin/busybox").args(["ping", "-c1", "-W5", address]).output().unwrap();
    assert!(ping.status.success(), "{ping:?}");
}

/// What is left of a guest's network.
fn record(bench: &Bench, guest: &Guest) -> PathBuf {
    bench.folder().join("run/network").join(format!("{}.json", guest.name))
}

/// Stops a guest, after which the host has these interfaces, as many as that, and nothing is to be undone.
async fn stop(bench: &mut Bench, guest: &Arc<Guest>, before: &str) {
    bench.engine.request(guest, Request::Stop).await.unwrap();
    bench.ends(guest, 0x0).await;
    assert!(!record(bench, guest).exists());
    let names =
        |text: &str| text.lines().map(|line| line.split(' ').nth(1).map(str::to_owned)).collect::<Vec<_>>();
    let is_as_before = eventually(|| names(&ip("-o link")) == names(before)).await;
    assert!(is_as_before, "{before} became {}", ip("-o link"));
}

#[tokio::test]
async fn a_guest_talks_over_a_bridge_and_leaves_nothing_there() {
    for user_namespace in [true, false] {
        apart();
        bridge();
        let before = ip("-o link");
        let mut bench = Bench::new();
        let guest = connected(&mut bench, "net", user_namespace, veth());
        for _ in 0..2 {
            bench.up(&guest).await;
            assert!(bench.says(&guest, "ip addr show eth0").contains("10.78.0.5/24"));
            assert!(bench.says(&guest, "ip route").contains("default via 10.78.0.1"));
            reaches("10.78.0.5");
            stop(&mut bench, &guest, &before).await;
        }
    }
}

#[tokio::test]
async fn a_guest_has_a_second_hardware_address_on_an_interface_of_the_host() {
    for user_namespace in [true, false] {
        apart();
        device("up0");
        let before = ip("-o link");
        let mut bench = Bench::new();
        let guest = connected(&mut bench, "macvlan", user_namespace, network(MACVLAN));
        let mut addresses = Vec::new();
        for _ in 0..2 {
            bench.up(&guest).await;
            assert!(bench.says(&guest, "ip addr show eth0").contains("10.79.0.5/24"));
            addresses.push(bench.says(&guest, "cat /sys/class/net/eth0/address"));
            reaches("10.79.0.5");
            stop(&mut bench, &guest, &before).await;
        }
        assert_eq!(addresses[0], addresses[1]);
    }
}

#[tokio::test]
async fn a_device_of_the_host_is_the_guests_while_it_runs() {
    for user_namespace in [true, false] {
        apart();
        let before = ip("-o link");
        let lines = "[[network]]\ntype = \"physical\"\ndevice = \"dev0\"\nname = \"lan0\"\naddress = \"10.79.0.5/24\"\n";
        let mut bench = Bench::new();
        let guest = connected(&mut bench, "physical", user_namespace, network(lines));
        for _ in 0..2 {
            // It is no hardware, so that it ends with the guest's namespace.
            device("dev0");
            bench.up(&guest).await;
            assert!(bench.says(&guest, "ip addr show lan0").contains("10.79.0.5/24"));
            assert!(!ip("-o link").contains("dev0@") && ip("-o link").contains("dev0peer"));
            reaches("10.79.0.5");
            stop(&mut bench, &guest, &before).await;
        }
        device("dev0");
        ip("addr add 10.80.0.1/24 dev dev0");
        let error = bench.engine.start(&guest).await.unwrap_err();
        assert!(error.reason.contains("has the address 10.80.0.1 on the host"), "{error}");
        ip("link del dev0");
    }
}

#[tokio::test]
async fn a_guest_has_several_interfaces_with_settings_of_their_own() {
    apart();
    bridge();
    device("up0");
    let before = ip("-o link");
    let mut bench = Bench::new();
    let lines = "[[network]]\ntype = \"veth\"\nbridge = \"gbr0\"\naddress = \"10.78.0.5/24\"\ngateway = \"10.78.0.1\"\n\
                 [[network]]\ntype = \"macvlan\"\nparent = \"up0\"\nname = \"lan.5\"\naddress = \"10.79.0.5/24\"\n\
                 routes = [{ to = \"10.81.0.0/16\", via = \"10.79.0.1\" }]\n";
    let guest = changed(&connected(&mut bench, "two", true, network(lines)), |spec| {
        let settings =
            ["net.ipv4.ip_forward", "net.ipv4.conf.eth0.log_martians", "net.ipv4.conf.lan/5.log_martians"];
        spec.process.sysctl = settings.map(|name| (name.to_owned(), "1".to_owned())).to_vec();
    });
    bench.up(&guest).await;
    reaches("10.78.0.5");
    reaches("10.79.0.5");
    let routes = bench.says(&guest, "ip route");
    assert!(routes.contains("default via 10.78.0.1 dev eth0"), "{routes}");
    assert!(routes.contains("10.81.0.0/16 via 10.79.0.1 dev lan.5"), "{routes}");
    let settings = "cd /proc/sys/net/ipv4; cat ip_forward conf/eth0/log_martians conf/lan.5/log_martians";
    assert_eq!(bench.says(&guest, settings), "1\n1\n1");
    assert_eq!(bench.says(&guest, "ls /sys/class/net | wc -l"), "3");
    stop(&mut bench, &guest, &before).await;
}

#[tokio::test]
async fn a_guest_has_its_loopback_or_the_hosts_network() {
    apart();
    let mut bench = Bench::new();
    let alone = bench.shell("alone", "while :; do sleep 1; done");
    bench.up(&alone).await;
    assert!(bench.says(&alone, "ip link show lo").contains("UP"));
    assert_eq!(bench.says(&alone, "ip -o link | wc -l"), "1");
    ip("link add seen0 type bridge");
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let shares = connected(&mut bench, "shares", user_namespace, Network::Host);
        bench.up(&shares).await;
        assert!(bench.says(&shares, "ip -o link").contains("seen0"));
        let sets = bench.inside(&shares, "echo 1 > /proc/sys/net/ipv4/conf/seen0/log_martians");
        assert!(!sets.status.success(), "the host's settings are the host's");
    }
}

#[tokio::test]
async fn steps_before_the_init_see_the_interfaces_and_run_on_the_host() {
    apart();
    bridge();
    let mut bench = Bench::new();
    let seen = bench.folder().join("seen");
    let step = |name: &str, what| Step { name: name.into(), what, must_succeed: true };
    let look = format!("ip -o link > {}", seen.display());
    let argv = ["/bin/sh", "-c", &look].map(str::to_owned).to_vec();
    let run = Deed::Run { argv, directory: guestd::model::Place::Root, success: vec![] };
    let guest = changed(&connected(&mut bench, "steps", false, veth()), |spec| {
        spec.lifecycle.before = vec![step("interfaces", Deed::Network), step("pre-start", run)];
    });
    bench.up(&guest).await;
    assert!(std::fs::read_to_string(&seen).unwrap().contains("gbr0"), "it ran in the guest's network");
    assert!(bench.says(&guest, "ip addr show eth0").contains("10.78.0.5/24"));
    reaches("10.78.0.5");
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn a_network_that_cannot_be_made_fails_the_start_and_leaves_nothing() {
    apart();
    let mut bench = Bench::new();
    let guest = bench.guest("nobridge", |spec| spec.network = veth());
    let before = ip("-o link");
    let error = bench.engine.start(&guest).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    let said = "cannot set up its network: eth0: the host has no bridge named gbr0; create it (ip link add gbr0 type bridge)";
    assert!(error.reason.starts_with(said), "{error}");
    assert_eq!(ip("-o link"), before);
    assert!(!record(&bench, &guest).exists());
}

#[tokio::test]
async fn a_reboot_in_place_makes_the_interfaces_anew() {
    apart();
    bridge();
    device("up0");
    let before = ip("-o link");
    for (name, network, address) in [("again", veth(), "10.78.0.5"), ("anew", network(MACVLAN), "10.79.0.5")]
    {
        let mut bench = Bench::new();
        let guest = connected(&mut bench, name, true, network);
        let mut init = bench.up(&guest).await;
        let mac = bench.says(&guest, "cat /sys/class/net/eth0/address");
        for _ in 0..3 {
            bench.inside(&guest, "reboot -f");
            assert_eq!(bench.observes(&guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
            let next = bench.running(&guest).await;
            assert!(next.keeper == init.keeper && next.pid != init.pid);
            init = next;
            assert_eq!(bench.says(&guest, "cat /sys/class/net/eth0/address"), mac);
            assert!(bench.says(&guest, "ip addr show eth0").contains(address));
            reaches(address);
        }
        stop(&mut bench, &guest, &before).await;
    }
}

#[tokio::test]
async fn what_a_killed_monitor_leaves_is_taken_away_at_the_next_start() {
    apart();
    bridge();
    device("up0");
    let before = ip("-o link");
    let mut bench = Bench::new();
    let lines = "[[network]]\ntype = \"veth\"\nbridge = \"gbr0\"\naddress = \"10.78.0.5/24\"\n";
    let guest = connected(&mut bench, "killed", true, network(&format!("{lines}{MACVLAN}")));
    for next in [guest.clone(), changed(&guest, |spec| spec.network = Network::None)] {
        // Unwatched, as where guestd is away.
        bench.engine.start(&guest).await.unwrap();
        let Probe::Up(init) = bench.engine.probe(&guest).await.unwrap() else { panic!("not up") };
        let monitor = nix::unistd::Pid::from_raw(init.keeper.unwrap().pid);
        nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
        let root = format!("/proc/{}/root/bin", init.pid);
        assert!(eventually(|| !Path::new(&root).exists()).await, "it outlives its monitor");
        assert!(record(&bench, &guest).exists(), "nobody was there to take it away");
        bench.up(&next).await;
        if next == guest {
            reaches("10.78.0.5");
            reaches("10.79.0.5");
        } else {
            assert!(!record(&bench, &guest).exists(), "it has nothing to do with what is set now");
        }
        stop(&mut bench, &next, &before).await;
    }
}

#[tokio::test]
async fn what_a_killed_monitor_leaves_is_taken_away_when_that_is_seen() {
    apart();
    bridge();
    let before = ip("-o link");
    let mut bench = Bench::new();
    let guest = connected(&mut bench, "seen", true, veth());
    let monitor = nix::unistd::Pid::from_raw(bench.up(&guest).await.keeper.unwrap().pid);
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(None));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    assert!(!record(&bench, &guest).exists(), "something is left to be undone");
    // The kernel takes its time with interfaces of a namespace that is gone.
    let count = || ip("-o link").lines().count();
    assert!(eventually(|| count() == before.lines().count()).await, "an interface is left");
}
