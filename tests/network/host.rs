//! A host that is a network namespace, and guests that are processes in others.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use guestd::{
    model::{
        GuestName, Link, LinkKind, LinkName, Links, Network,
        network::{Address, Mac, Mtu, Port, Route, Routing},
    },
    network::{self, NetworkError},
};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;
use tempfile::TempDir;

/// The thread's network namespace is new from now on, and plays the host's.
pub struct Host {
    dir: TempDir,
}

impl Host {
    /// Enters it. Addresses are there at once, without looking for others that have them.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace; root is needed");
        // A file below /proc/sys/net is of the namespace of whoever opens it.
        std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        ip("link set lo up");
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The machine itself, with its own namespace.
    pub fn of_the_machine() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A bridge with a hardware address of its own and one port, up.
    pub fn bridge(&self, name: &str) {
        ip(&format!("link add {name} address 02:00:00:00:00:01 type bridge"));
        ip(&format!("link set {name} up"));
        self.device(&format!("{name}port"));
        ip(&format!("link set {name}port master {name}"));
        serves(name);
    }

    /// An interface that plays a device: one end of a pair, whose other end is `NAMEpeer`. Both are up.
    pub fn device(&self, name: &str) {
        ip(&format!("link add {name} type veth peer name {name}peer"));
        ip(&format!("link set {name} up"));
        ip(&format!("link set {name}peer up"));
        serves(name);
        serves(&format!("{name}peer"));
    }

    /// Where a guest's record is.
    pub fn record(&self, guest: &str) -> PathBuf {
        self.dir.path().join("network").join(format!("{guest}.json"))
    }

    /// Starts a guest without network.
    pub fn guest(&self, name: &str) -> Guest {
        let script = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo; exec cat";
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Guest { name: GuestName::new(name).unwrap(), process, record: self.record(name) }
    }
}

/// Waits until an interface of the host has all that the kernel gives it.
pub fn serves(name: &str) {
    let has_all = || {
        let seen = &json(&run("ip", &format!("-j addr show dev {name}")))[0];
        let is_own = |info: &Value| {
            info["scope"] == "link" && info["family"] == "inet6" && info["tentative"].is_null()
        };
        seen["operstate"] == "UP" && seen["addr_info"].as_array().unwrap().iter().any(is_own)
    };
    eventually(has_all, || format!("{name} serves"));
}

/// Everything about links, addresses and routes of this namespace, without what only counts or passes.
pub fn everything() -> Value {
    let mut all = Vec::new();
    for what in ["link", "addr", "route", "-6 route show table all", "route show table all"] {
        let mut found = json(&run("ip", &format!("-j -d {what}")));
        strip(&mut found);
        let mut lines: Vec<_> = found.as_array().unwrap().iter().map(ToString::to_string).collect();
        lines.sort();
        all.push(Value::from(lines));
    }
    Value::from(all)
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(strip),
        Value::Object(map) => {
            map.retain(|key, _| !key.ends_with("_timer") && key != "topology_change");
            map.values_mut().for_each(strip);
        }
        _ => {}
    }
}

/// Waits until links, addresses and routes are these: states of interfaces and routes of IPv6 follow a little later.
pub fn wait_for(expected: &Value, what: &str) {
    let lines = |all: &Value| -> Vec<String> {
        let lists = all.as_array().unwrap().iter();
        lists
            .flat_map(|list| list.as_array().unwrap())
            .map(|line| line.as_str().unwrap().to_owned())
            .collect()
    };
    let differences = || {
        let (now, expected) = (lines(&everything()), lines(expected));
        let short = |line: &String| line.chars().take(1500).collect::<String>();
        let more =
            now.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {}", short(line)));
        let less =
            expected.iter().filter(|line| !now.contains(line)).map(|line| format!("- {}", short(line)));
        more.chain(less).collect::<Vec<_>>()
    };
    eventually(|| everything() == *expected, || format!("{what}: {:#?}", differences()));
}

/// Waits until something is so.
pub fn eventually(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process in a namespace of its own; it ends with this.
pub struct Guest {
    pub name: GuestName,
    process: Child,
    record: PathBuf,
}

impl Guest {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn netns(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.pid())).unwrap()
    }

    /// Sets up its network.
    pub fn apply(&self, network: &Network) -> Result<(), NetworkError> {
        network::apply(network, &self.name, self.netns().as_fd(), &self.record)
    }

    /// Sets up these interfaces, which must work.
    pub fn set_up(&self, links: Vec<Link>) {
        self.apply(&network_of(links)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// What cannot be set up, in words.
    pub fn refused(&self, links: Vec<Link>) -> String {
        let error = self.apply(&network_of(links)).unwrap_err();
        assert!(!self.record.exists(), "{error}");
        error.to_string()
    }

    /// Undoes its network.
    pub fn undo(&self) {
        network::undo(&self.record).unwrap_or_else(|error| panic!("{error}"));
        assert!(!self.record.exists());
    }

    /// Runs a program inside; it must succeed.
    pub fn run(&self, command: &str) -> String {
        run("nsenter", &format!("--net=/proc/{}/ns/net {command}", self.pid()))
    }

    /// What `ip` says inside, as JSON.
    pub fn ip(&self, arguments: &str) -> Value {
        json(&self.run(&format!("ip -j -d {arguments}")))
    }

    /// One interface inside.
    pub fn link(&self, name: &str) -> Value {
        self.ip(&format!("addr show dev {name}"))[0].clone()
    }

    /// Ends it, and its namespace.
    pub fn end(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// A neighbour must answer: by refusing a connection, since nobody listens there.
    pub fn reaches(&self, address: &str) {
        const NOBODY: u16 = 9;
        let (netns, address) = (self.netns(), SocketAddr::new(address.parse().unwrap(), NOBODY));
        let asked = std::thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            TcpStream::connect_timeout(&address, Duration::from_secs(10))
        });
        let error = asked.join().unwrap().expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

fn json(text: &str) -> Value {
    if text.trim().is_empty() {
        Value::from(Vec::<Value>::new())
    } else {
        serde_json::from_str(text).unwrap()
    }
}

/// Runs a program with these arguments in this thread's namespace; it must succeed.
pub fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ip`, which must succeed.
pub fn ip(arguments: &str) {
    run("ip", arguments);
}

/// What `ip` says of an interface of the host; none if it is not there.
pub fn seen(name: &str) -> Option<Value> {
    let all = json(&run("ip", "-j -d link"));
    all.as_array().unwrap().iter().find(|link| link["ifname"] == name).cloned()
}

/// Whether this kernel knows a type of interface. Where it does not, the error is tested instead.
pub fn knows(kind: &str) -> bool {
    let probe = |kind: &str| match kind {
        "vlan" => "link add probe link probing type vlan id 5".to_owned(),
        kind => format!("link add probe link probing type {kind}"),
    };
    let known = std::thread::spawn({
        let probe = probe(kind);
        move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link add probing type veth peer name probed");
            Command::new("ip").args(probe.split(' ')).stderr(Stdio::null()).status().unwrap().success()
        }
    });
    let is_known = known.join().unwrap();
    if !is_known {
        let _ = writeln!(std::io::stderr(), "this kernel has no {kind}: its error is tested instead");
    }
    is_known
}

pub fn network_of(links: Vec<Link>) -> Network {
    Network::Links(Links::new(links).unwrap())
}

pub fn link_name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

/// An interface with these addresses, up.
pub fn link(name: &str, kind: LinkKind, addresses: &[&str]) -> Link {
    let address = |text: &&str| match text.contains(':') {
        true => Address::V6 { net: text.parse().unwrap(), peer: None },
        false => Address::V4 { net: text.parse().unwrap(), broadcast: None, peer: None },
    };
    Link {
        kind,
        name: link_name(name),
        addresses: addresses.iter().map(address).collect(),
        mtu: None,
        up: Some(Routing::default()),
    }
}

/// A pair with its host's end in a bridge.
pub fn veth(bridge: &str) -> LinkKind {
    LinkKind::Veth { host_name: None, port: Some(Port { bridge: link_name(bridge), vlan: None }), mac: None }
}

pub fn mtu(number: i64) -> Option<Mtu> {
    Mtu::try_from(number).ok()
}

pub fn mac(text: &str) -> Option<Mac> {
    Some(text.parse().unwrap())
}

pub fn routing(
    gateway4: Option<&str>,
    gateway6: Option<&str>,
    routes: &[(&str, Option<&str>)],
) -> Option<Routing> {
    let route = |(to, via): &(&str, Option<&str>)| match to.contains(':') {
        true => Route::V6 { to: to.parse().unwrap(), via: via.map(|via| via.parse().unwrap()) },
        false => Route::V4 { to: to.parse().unwrap(), via: via.map(|via| via.parse().unwrap()) },
    };
    Some(Routing {
        gateway4: gateway4.map(|text| text.parse().unwrap()),
        gateway6: gateway6.map(|text| text.parse().unwrap()),
        routes: routes.iter().map(route).collect(),
    })
}
