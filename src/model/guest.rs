//! A guest: its name, its engine's part and its settings.

use std::{fmt, path::Path, sync::Arc};

use super::{
    hook::Hooks,
    name::{GroupName, GuestName},
    native::NativeSpec,
    readiness::{Health, Ready},
    resource::Resources,
    restart::Restart,
    setting::{Groups, Owner, Reboot, Start, Stop},
};

/// What really runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// The host's LXC.
    Lxc,
    /// The embedded one: namespaces and cgroups, with nothing to install.
    Native,
}

impl EngineKind {
    /// The engine's name in settings, JSON and D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What only one engine needs to know of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSpec {
    /// A container of the host's LXC.
    Lxc(LxcSpec),
    /// A guest of the embedded engine.
    Native(Arc<NativeSpec>),
}

/// An LXC container, from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LxcSpec {
    /// The lxcpath that the container's folder lies in.
    pub lxcpath: Arc<Path>,
    /// `lxc.signal.halt`, as a signal number; none leaves LXC's rule (SIGRTMIN+3 for systemd, else SIGPWR).
    pub halt_signal: Option<i32>,
    /// `lxc.signal.reboot`; none is SIGINT.
    pub reboot_signal: Option<i32>,
    /// `lxc.signal.stop`; none is SIGKILL.
    pub stop_signal: Option<i32>,
    /// `lxc.hook.version`: 0 passes arguments, 1 the environment only.
    pub hook_version: u8,
    /// `lxc.ephemeral`: LXC destroys the container when it stops; it is never restarted.
    pub ephemeral: bool,
    /// `lxc.rootfs.path` as written.
    pub rootfs: Option<Box<str>>,
    /// `lxc.log.file`, where LXC's messages of a failed start go instead of its default log.
    pub log_file: Option<Box<str>>,
    /// It says itself what becomes of its console, by some `lxc.console.*`.
    pub own_console: bool,
}

impl LxcSpec {
    /// A container in an lxcpath whose configuration says nothing.
    pub fn new(lxcpath: Arc<Path>) -> Self {
        Self {
            lxcpath,
            halt_signal: None,
            reboot_signal: None,
            stop_signal: None,
            hook_version: 0,
            ephemeral: false,
            rootfs: None,
            log_file: None,
            own_console: false,
        }
    }

    /// The container's configuration file.
    pub fn config(&self, name: &GuestName) -> std::path::PathBuf {
        self.lxcpath.join(name.as_str()).join("config")
    }
}

/// One container or VM, as its configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Its name: unique on the host.
    pub name: GuestName,
    /// Its engine, and what that engine needs.
    pub engine: EngineSpec,
    /// When and with whom it starts.
    pub start: Start,
    /// When it serves.
    pub ready: Ready,
    /// Whether it is started again after it has ended by itself.
    pub restart: Restart,
    /// Whether it still serves, if somebody wants to know.
    pub health: Option<Health>,
    /// How its own reboots are answered.
    pub reboot: Reboot,
    /// How it is stopped.
    pub stop: Stop,
    /// What runs on the host around its start and stop.
    pub hooks: Hooks,
    /// Who decides when it is started and stopped.
    pub owner: Owner,
    /// How much of the host it may use.
    pub resources: Resources,
    /// A digest of everything that was read to make it: file names and contents. It differs when the configuration
    /// changed, which is how a reboot knows that LXC must start the guest anew.
    pub fingerprint: u64,
}

impl Guest {
    /// A guest of which nothing more is said: every setting has its default.
    pub fn new(name: GuestName, engine: EngineSpec) -> Self {
        Self {
            name,
            engine,
            start: Start::default(),
            ready: Ready::default(),
            restart: Restart::default(),
            health: None,
            reboot: Reboot::default(),
            stop: Stop::default(),
            hooks: Hooks::default(),
            owner: Owner::default(),
            resources: Resources::default(),
            fingerprint: 0,
        }
    }

    /// Which engine runs it.
    pub fn engine_kind(&self) -> EngineKind {
        match &self.engine {
            EngineSpec::Lxc(_) => EngineKind::Lxc,
            EngineSpec::Native(_) => EngineKind::Native,
        }
    }

    /// Whether its engine destroys it when it stops.
    pub fn is_ephemeral(&self) -> bool {
        match &self.engine {
            EngineSpec::Lxc(spec) => spec.ephemeral,
            EngineSpec::Native(_) => false,
        }
    }

    /// The lxcpath of an LXC container.
    pub fn lxcpath(&self) -> Option<&Path> {
        match &self.engine {
            EngineSpec::Lxc(spec) => Some(&spec.lxcpath),
            EngineSpec::Native(_) => None,
        }
    }

    /// Whether it is in `group`; `None` is the null group: guests in no group.
    pub fn is_in(&self, group: Option<&GroupName>) -> bool {
        match group {
            None => self.start.groups == Groups::Null,
            Some(group) => self.start.groups.names().contains(group),
        }
    }
}
