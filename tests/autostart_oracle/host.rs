//! An lxcpath with made-up containers, seen by lxc-autostart, by guestd's importer and plan, and by the built `autostart`.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use guestd::{
    daemon::load::{Directories, load_with_path},
    model::{Action, GuestName, Order, Selection},
    plan::{self, Guests},
};
use tempfile::TempDir;

use crate::container::Container;

/// The options of one call.
#[derive(Debug, Clone)]
pub struct Options {
    pub action: Action,
    pub all: bool,
    pub ignore_auto: bool,
    /// The arguments of `-g`.
    pub groups: Vec<String>,
}

impl Options {
    pub fn new(action: Action, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&list| list.into()).collect();
        Self { action, all: false, ignore_auto: false, groups }
    }

    pub fn all(action: Action) -> Self {
        Self { all: true, ..Self::new(action, &[]) }
    }

    pub fn selection(&self) -> Selection {
        Selection {
            groups: Selection::parse_groups(&self.groups).unwrap(),
            all: self.all,
            ignore_auto: self.ignore_auto,
            ..Selection::default()
        }
    }

    fn arguments(&self) -> Vec<&str> {
        let action = match self.action {
            Action::Start => None,
            Action::Shutdown => Some("-s"),
            Action::Kill => Some("-k"),
            Action::Reboot => Some("-r"),
        };
        let flags = [action, self.all.then_some("-a"), self.ignore_auto.then_some("-A")];
        let groups = self.groups.iter().flat_map(|list| ["-g", list]);
        flags.into_iter().flatten().chain(groups).collect()
    }
}

/// The folder with guestd's settings, below the lxcpath.
const SETTINGS: &str = ".settings";

/// A temporary lxcpath.
pub struct Host {
    folder: TempDir,
    guests: Guests,
    monitors: Vec<Monitor>,
}

impl Host {
    pub fn new(containers: &[Container]) -> Self {
        // In memory where there is such a place: thousands of small files are made.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("oracle").tempdir_in(parent).unwrap();
        let lxcpath = folder.path();
        containers.iter().for_each(|container| container.write(lxcpath));
        // Nothing but the containers: no overlays, and of settings only what makes guestd read orders as LXC does. LXC
        // takes nothing for a container that begins with a dot.
        let settings = Some(lxcpath.join(SETTINGS));
        let directories = Directories::new(settings.clone(), settings.clone(), settings);
        let guests = load_with_path(&directories, lxcpath).guests;
        assert_eq!(guests.len(), containers.len(), "every container is read");
        let up = containers.iter().filter(|container| container.up);
        let monitors = up.map(|container| Monitor::new(lxcpath, &container.name)).collect();
        Self { folder, guests, monitors }
    }

    pub fn lxcpath(&self) -> &Path {
        self.folder.path()
    }

    /// What lxc-autostart lists.
    pub fn lxc(&self, options: &Options) -> Vec<String> {
        self.listed(Command::new("lxc-autostart"), options)
    }

    /// What the built program lists, with LXC's reading of `start.order`. There is no guestd to ask.
    pub fn program(&self, options: &Options) -> Vec<String> {
        let settings = self.lxcpath().join(SETTINGS);
        fs::create_dir_all(&settings).unwrap();
        fs::write(settings.join("guestd.toml"), "order = \"lowest-first\"\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_autostart"));
        command.arg("--config-dir").arg(&settings).arg("--runtime-dir").arg(&settings);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        self.listed(command, options)
    }

    /// What a program lists that takes lxc-autostart's options.
    fn listed(&self, mut command: Command, options: &Options) -> Vec<String> {
        command.args(["-L", "-q", "-P"]).arg(self.lxcpath()).args(options.arguments());
        let output =
            command.output().expect("lxc-autostart of LXC 5.0.2 is the oracle: install the package lxc");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(Into::into).collect()
    }

    /// What guestd lists, with LXC's reading of `start.order`.
    pub fn ours(&self, options: &Options) -> Vec<String> {
        self.listing(options.action, &options.selection(), Order::LowestFirst)
    }

    pub fn listing(&self, action: Action, selection: &Selection, order: Order) -> Vec<String> {
        let runs = |name: &GuestName| self.monitors.iter().any(|monitor| monitor.guest == *name);
        let plan = plan::autostart(&self.guests, selection, action, order, plan::Standing::free(&runs));
        plan::listing(&plan, action)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // LXC leaves a folder with a lock for each container that it looked at.
        let locks = Path::new("/run/lxc/lock").join(self.lxcpath().strip_prefix("/").unwrap());
        if let Err(error) = fs::remove_dir_all(&locks).or_else(unless_missing) {
            eprintln!("cannot remove {}: {error}", locks.display());
        }
    }
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Answers on a container's command socket as the monitor of a running one does, until dropped.
struct Monitor {
    guest: GuestName,
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// `LXC_CMD_GET_STATE`, and the state `RUNNING`.
const GET_STATE: i32 = 3;
const RUNNING: u64 = 2;

impl Monitor {
    fn new(lxcpath: &Path, name: &str) -> Self {
        let guest = GuestName::new(name).unwrap();
        let name = lxcpath.join(name).join("command");
        let address = SocketAddr::from_abstract_name(name.as_os_str().as_encoded_bytes()).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream);
            }
        });
        Self { guest, address, over, thread: Some(thread) }
    }
}

/// One request of 16 bytes (command, length of data, a word), one answer of the same form (status, length, a word).
fn answer(mut stream: UnixStream) {
    let mut request = [0; 16];
    if stream.read_exact(&mut request).is_err() {
        return;
    }
    let command = i32::from_ne_bytes([request[0], request[1], request[2], request[3]]);
    let word = if command == GET_STATE { RUNNING } else { u64::from(std::process::id()) };
    let mut reply = [0; 16];
    reply[8..].copy_from_slice(&word.to_ne_bytes());
    // Who asked may have gone away meanwhile.
    let _ = stream.write_all(&reply);
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let woken = UnixStream::connect_addr(&self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}
