//! Native guests, key by key.

mod mistakes;

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    import::{excerpt, overlay},
    model::{Capabilities, Capability, native::Root},
};

/// The guest that these files make, in the order in which they are laid.
fn define(files: &[&str]) -> (Defined, Vec<String>) {
    let mut definition = Definition::new("web".parse().unwrap());
    let mut found = Vec::new();
    for (at, text) in files.iter().enumerate() {
        let file = format!("/{at}.toml");
        let text = excerpt::of(text.as_bytes());
        let overlay = overlay::read(Path::new(&file), &text);
        found.extend(overlay.diagnostics.iter().map(ToString::to_string));
        definition.lay(Path::new(&file), &text, overlay);
    }
    let defined = definition.finish(&Layer::default());
    found.extend(defined.diagnostics.iter().map(ToString::to_string));
    (defined, found)
}

fn spec(defined: &Defined) -> &NativeSpec {
    match &defined.imported.as_ref().unwrap().guest.engine {
        EngineSpec::Native(spec) => spec,
        EngineSpec::Lxc(_) => unreachable!(),
    }
}

/// What files without mistakes make.
#[track_caller]
fn good(files: &[&str]) -> NativeSpec {
    let (defined, found) = define(files);
    assert_eq!(found, [""; 0], "{files:?}");
    let spec = spec(&defined).clone();
    assert_eq!(spec.refused, None);
    spec
}

const ROOT: &str = "engine = \"native\"\nroot = \"/srv/web\"\n";

#[test]
fn a_root_is_all_that_is_needed() {
    let native = good(&[ROOT]);
    assert_eq!(native, NativeSpec::new(Root::Folder("/srv/web".into())));
    assert!(native.user_namespace);
    let native = good(&["engine = \"native\"\nroot = \"volatile-host\"\n"]);
    assert_eq!(native, NativeSpec::new(Root::VolatileHost));
    assert_eq!((native.user_namespace, native.security.capabilities), (false, Capabilities::PLAIN));
    let native = good(&["engine = \"native\"\narchive = \"/srv/x.tar.gz\"\nuser-namespace = false"]);
    assert_eq!((native.root, native.user_namespace), (Root::Archive("/srv/x.tar.gz".into()), false));
}

const EVERYTHING: &str = r#"
engine = "native"
root = "/srv//web/"
read-only = true
user-namespace = false
init = ["/bin/sh", "-c", "exec /bin/x"]
halt-signal = "SIGRTMIN+3"
reboot-signal = 15
directory = "/srv"
user = "1000:100,4,27"
hostname = "web.example.org"
domainname = "example.org"
no-new-privileges = true
seccomp = "off"
devices = ["/dev/fuse", "/dev/net/tun"]
nice = -5
scheduler = "rr:10"
io = "realtime:0"
oom-score-adjust = -500
personality = "linux32"
umask = "0027"
processors = "0-3,5"

[environment]
LANG = "C.UTF-8"
EMPTY = ""

[[mount]]
source = "/srv/data"
target = "/data/"
options = ["ro", "nosuid,nodev"]

[[mount]]
target = "/scratch"
type = "tmpfs"
options = "size=64m"
optional = true

[[network]]
type = "veth"
bridge = "guestbr0"
address = ["10.0.3.5/24", "fd00::5/64"]
gateway = "10.0.3.1"

[[network]]
type = "physical"
device = "eth2"
vlan = 5
up = false

[capabilities]
add = ["CAP_SYS_TIME", "net_admin"]
drop = ["CAP_MKNOD"]

[limits]
nofile = "1024:4096"
core = "unlimited"
nproc = 100
memlock = "5:unlimited"

[sysctl]
"net.ipv4.ip_forward" = "1"
net.ipv4.conf.eth0.forwarding = 1
"net.ipv4.conf.eth0/1.forwarding" = 0
kernel.msgmax = 65536
"kernel.sem" = "250\t32000 32 128"
fs.mqueue.msg_max = 20
kernel.domainname = "x"
"#;

#[test]
fn every_key_is_read_with_its_line() {
    let (defined, found) = define(&[EVERYTHING]);
    assert_eq!(found, [""; 0]);
    let effective = &defined.imported.as_ref().unwrap().effective;
    let written = effective.iter().filter(|row| row.origin.is_some());
    let rows: Vec<_> = written.map(ToString::to_string).collect();
    let native = spec(&defined);
    let set = |name| native.security.capabilities.contains(Capability::named(name).unwrap());
    assert_eq!([set("sys_time"), set("net_admin"), set("mknod"), set("sys_boot")], [true, true, false, true]);
    insta::assert_snapshot!(rows.join("\n"));
    insta::assert_debug_snapshot!(NativeSpec { security: Security::usual(false), ..native.clone() });
    for key in keys().filter(|key| !["archive", "bundle", "halt-command"].contains(key)) {
        let is_shown =
            |row: &String| row.starts_with(&format!("{key} ")) || row.starts_with(&format!("{key}."));
        assert!(rows.iter().any(is_shown), "{key}");
    }
}

use crate::model::native::Security;

#[test]
fn what_is_read_travels_as_json() {
    let native = good(&[EVERYTHING]);
    let json = serde_json::to_string(&native).unwrap();
    assert_eq!(serde_json::from_str::<NativeSpec>(&json).unwrap(), native);
}

#[test]
fn later_files_win_key_by_key() {
    let over = "root = \"volatile-host\"\ninit = [\"/sbin/init\"]\n[environment]\nEMPTY = \"no\"\n[limits]\n\
                nproc = 5\n[capabilities]\ndrop = []\n[sysctl]\nkernel.msgmax = 1\n[[mount]]\nsource = \"/a\"\ntarget = \"/b\"\n";
    let native = good(&[&EVERYTHING.replace("user-namespace = false", ""), over]);
    assert_eq!((native.root, native.user_namespace), (Root::VolatileHost, false));
    assert_eq!(native.mounts.len(), 1);
    assert!(matches!(native.network, Network::Links(_)));
    assert_eq!(good(&[EVERYTHING, "sysctl = {}\nnetwork = \"none\"\n"]).network, Network::None);
    let environment = [("EMPTY", "no"), ("LANG", "C.UTF-8")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(native.environment, environment);
    assert_eq!(native.process.limits.len(), 4);
    assert_eq!(native.process.sysctl[2], ("kernel.msgmax".into(), "1".into()));
    assert!(
        native.security.capabilities.contains(Capability::named("mknod").unwrap()) || !native.user_namespace
    );
    assert_eq!(native.init.halt_signal, Some(37));
}

#[test]
fn all_capabilities_can_be_added_or_dropped() {
    let of = |add: &str, drop: &str| {
        let native = good(&[&format!("{ROOT}[capabilities]\nadd = {add}\ndrop = {drop}\n")]);
        native.security.capabilities.iter().map(Capability::number).collect::<Vec<_>>()
    };
    assert_eq!(of("[\"CAP_CHOWN\", \"CAP_KILL\"]", "\"all\""), [0, 5]);
    assert_eq!(of("[]", "[\"all\"]"), [0; 0]);
    assert_eq!(of("[\"all\"]", "[\"CAP_CHOWN\"]"), (1..=40).collect::<Vec<_>>());
}

#[test]
fn values_have_short_forms() {
    for (line, row) in [
        ("io = \"best-effort\"", "io = \"best-effort:4\""),
        ("io = \"idle\"", "io = \"idle\""),
        ("scheduler = \"fifo:99\"", "scheduler = \"fifo:99\""),
        ("scheduler = \"other\"", "scheduler = \"other\""),
        ("personality = 262144", "personality = 262144"),
        ("processors = 3", "processors = \"3\""),
        ("umask = \"077\"", "umask = \"0077\""),
        ("halt-command = [\"/sbin/poweroff\", \"-f\"]", "halt-command = [\"/sbin/poweroff\", \"-f\"]"),
        ("halt-signal = \"sigpwr\"", "halt-signal = \"SIGPWR\""),
        ("limits.nofile = \"infinity\"", "limits.nofile = \"unlimited\""),
        ("devices = \"/dev/kvm\"", "devices = [\"/dev/kvm\"]"),
        (
            "mount = [{ source = \"/a\", target = \"/b\" }]",
            "mount = { source = \"/a\", target = \"/b\", type = \"bind\" }",
        ),
    ] {
        let (defined, found) = define(&[&format!("{ROOT}{line}\n")]);
        assert_eq!(found, [""; 0], "{line}");
        let rows = &defined.imported.as_ref().unwrap().effective;
        let shown = format!("{row}  # /0.toml:3");
        assert!(rows.iter().any(|row| row.to_string() == shown), "{shown}: {rows:#?}");
    }
}

#[test]
fn a_network_is_shown_as_it_can_be_written() {
    let text = format!(
        "{ROOT}[[network]]\ntype = \"veth\"\nbridge = \"br0\"\nvlan = 7\nhost-name = \"web-0\"\nmac = \"02:00:5e:10:00:01\"\n\
         address = [\"10.0.3.5/24\", {{ address = \"10.9.0.2/30\", broadcast = \"10.9.0.3\", peer = \"10.9.0.1\" }}]\n\
         gateway = [\"10.0.3.1\", \"fe80::1\"]\nroutes = [{{ to = \"10.1.0.0/16\", via = \"10.0.3.9\" }}, {{ to = \"fd01::1\" }}]\n\
         mtu = 1400\n[[network]]\ntype = \"macvlan\"\nparent = \"eth0\"\nmode = \"vepa\"\nvlan = 5\nname = \"lan\"\n\
         [[network]]\ntype = \"ipvlan\"\nparent = \"eth0\"\nmode = \"l3s\"\n[[network]]\ntype = \"macvlan\"\nparent = \"eth1\"\n\
         address = {{ address = \"fd00::2/64\", peer = \"fd00::1\" }}\n\
         [[network]]\ntype = \"physical\"\ndevice = \"eth2\"\nup = false\n[[network]]\ntype = \"physical\"\n\
         device = \"eth3\"\nvlan = 12\n"
    );
    let (defined, found) = define(&[&text]);
    assert_eq!(found, [""; 0]);
    let rows = &defined.imported.as_ref().unwrap().effective;
    let tables: Vec<_> =
        rows.iter().filter(|row| row.key == "network").map(|row| row.value.as_str()).collect();
    assert_eq!(tables.len(), 6, "{tables:?}");
    let again = good(&[&format!("{ROOT}network = [{}]\n", tables.join(", "))]);
    assert_eq!(again.network, spec(&defined).network, "{tables:#?}");
}

#[test]
fn the_digest_covers_every_file() {
    let of = |files: &[&str]| define(files).0.imported.unwrap().guest.fingerprint;
    let one = of(&[ROOT, "nice = 1"]);
    assert_eq!(of(&[ROOT, "nice = 1"]), one);
    assert_ne!(of(&[ROOT, "nice = 2"]), one);
    assert_ne!(of(&[ROOT, "nice = 1", ""]), one);
}

proptest! {
    #[test]
    fn no_toml_makes_it_panic(
        key in "(root|bundle|archive|network|init|user|hostname|mount|devices|io|umask|processors|scheduler|personality|limits|sysctl|environment|capabilities|nice)",
        inner in "(|[a-z.]{1,9} = )",
        value in "(true|-?[0-9]{1,25}|\"[^\"\\\\]{0,20}\"|\\[[\\[\\]0-9\", a-z/]{0,20}\\]|\"[0-9:,-]{1,25}\"|\"/[a-z./]{0,9}\")",
    ) {
        let value = if inner.is_empty() { value } else { format!("{{ {inner}{value} }}") };
        let (_, found) = define(&[ROOT, &format!("{key} = {value}\n")]);
        prop_assert!(found.iter().all(|message| message.len() < 1000));
    }
}
