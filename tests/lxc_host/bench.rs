//! An engine on a host, and what it reports.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::Arc,
};

use guestd::{
    engine::{
        Engine, Epoch, Init, Observation,
        lxc::{Hook, LxcEngine},
    },
    launch::Direct,
    model::{Guest, WaitStatus},
};
use tokio::sync::mpsc::unbounded_channel;

use super::{Host, executable::script, observed::Reports};

/// An engine on a host, and what it reports.
pub struct Bench {
    /// The host.
    pub host: Arc<Host>,
    /// The engine, on the host's lxcpath.
    pub engine: Arc<LxcEngine>,
    /// What the engine reports.
    pub seen: Reports,
}

impl Bench {
    /// An engine on a new host.
    pub fn new() -> Self {
        Self::on(Host::new())
    }

    /// An engine on a host. Its hook writes down what it is called with.
    pub fn on(host: Host) -> Self {
        let helper = host.folder().join("it's a helper");
        script(&helper, "echo \"$LXC_NAME $LXC_TARGET $*\" >> \"$2/hooks\"");
        Self::with(Arc::new(host), helper)
    }

    /// Another engine for the same host, as a daemon that starts later has one.
    pub fn successor(&self) -> Self {
        Self::of(self.host.clone())
    }

    /// An engine on a host that is left.
    pub fn of(host: Arc<Host>) -> Self {
        Self::with(host, "/bin/true".into())
    }

    fn with(host: Arc<Host>, helper: PathBuf) -> Self {
        let hook = Hook { helper: Some(helper), runtime_dir: host.runtime_dir() };
        let (sink, seen) = unbounded_channel();
        let paths = vec![Arc::from(host.lxcpath())];
        let engine = Arc::new(LxcEngine::new(paths, Arc::new(Direct::default()), hook, sink, Vec::new()));
        Self { host, engine, seen: Reports(seen) }
    }

    /// Starts and watches a guest; its first init.
    pub async fn up(&mut self, guest: &Arc<Guest>) -> Init {
        self.engine.start(guest).await.unwrap();
        self.engine.watch(guest.clone(), Epoch(1));
        self.running(guest).await
    }

    /// Expects the end of a guest that was frozen: that, and that it was thawed for its end, may be seen.
    pub async fn ends_frozen(&mut self, guest: &Guest, status: i32) {
        let mut seen = self.observes(guest).await;
        while let Observation::Frozen | Observation::Thawed = seen {
            seen = self.observes(guest).await;
        }
        assert_eq!(seen, Observation::InitExited(Some(WaitStatus(status))));
        assert_eq!(self.observes(guest).await, Observation::Gone);
    }

    /// What the hook wrote down.
    pub fn hooks(&self) -> String {
        fs::read_to_string(self.host.runtime_dir().join("hooks")).unwrap_or_default()
    }
}

impl Deref for Bench {
    type Target = Reports;

    fn deref(&self) -> &Reports {
        &self.seen
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Reports {
        &mut self.seen
    }
}

/// Makes a shell script that is a container's init; the line that sets it.
pub fn init_script(host: &Host, name: &str, text: &str) -> String {
    let path = host.folder().join("root/bin").join(name);
    script(&path, text);
    format!("lxc.init.cmd = /bin/{name}")
}

/// Sends a process a signal.
pub fn signal(pid: i32, name: &str) {
    let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
