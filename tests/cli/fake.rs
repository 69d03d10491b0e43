//! An `org.guestd1` that plays what a test tells it to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, connection::Builder, interface};

use crate::program::{DEADLINE, PrivateBus};

/// A job at one moment.
#[derive(Clone, Default)]
pub struct Frame {
    pub state: &'static str,
    pub progress: (u32, u32),
    pub status: &'static str,
    pub results: Vec<(&'static str, &'static str)>,
    /// When it was accepted.
    pub started: u64,
}

impl Frame {
    pub fn over(state: &'static str, results: &[(&'static str, &'static str)]) -> Self {
        let count = results.len() as u32;
        Self { state, progress: (count, count), results: results.to_vec(), ..Self::default() }
    }

    pub fn running(status: &'static str, total: u32) -> Self {
        Self { state: "running", progress: (0, total), status, ..Self::default() }
    }
}

/// A call that guestd got: method, subject (action or name), groups, options in words.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub method: &'static str,
    pub subject: String,
    pub groups: Vec<String>,
    pub options: Vec<String>,
}

impl Call {
    pub fn new(method: &'static str, subject: &str, groups: &[&str], options: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { method, subject: subject.into(), groups: owned(groups), options: owned(options) }
    }
}

struct Job {
    id: u32,
    verb: &'static str,
    frame: Frame,
    /// Hears of every reading of the state, so that a test knows that a client waits.
    looked: mpsc::UnboundedSender<u32>,
    canceled: Arc<Mutex<Vec<u32>>>,
}

#[interface(name = "org.guestd1.Job")]
impl Job {
    fn cancel(&self) {
        self.canceled.lock().unwrap().push(self.id);
    }

    #[zbus(property)]
    fn id(&self) -> u32 {
        self.id
    }

    #[zbus(property)]
    fn verb(&self) -> &str {
        self.verb
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        // A test that does not care has dropped the receiver.
        let _ = self.looked.send(self.id);
        self.frame.state
    }

    #[zbus(property)]
    fn progress(&self) -> (u32, u32) {
        self.frame.progress
    }

    #[zbus(property)]
    fn status(&self) -> &str {
        self.frame.status
    }

    #[zbus(property)]
    fn started(&self) -> u64 {
        self.frame.started
    }

    #[zbus(property)]
    fn results(&self) -> HashMap<String, String> {
        self.frame.results.iter().map(|(guest, text)| ((*guest).to_owned(), (*text).to_owned())).collect()
    }
}

struct Guest;

#[interface(name = "org.guestd1.Guest")]
impl Guest {
    fn describe(&self) -> String {
        details_json().to_string()
    }
}

/// The one guest there is, in a list.
pub fn guest_json() -> serde_json::Value {
    serde_json::json!({
        "name": "web", "engine": "lxc", "phase": "up", "intent": "up", "ready": true, "reason": "", "auto": true,
        "order": 7, "delay": 1.5, "groups": ["onboot"], "init_pid": 4711, "since": "2026-11-21T09:47:00Z",
        "next_try": null, "restarts": 0, "after": ["db"], "wants": [], "requires": [],
        "held": null, "held_until": null
    })
}

/// The same by itself.
pub fn details_json() -> serde_json::Value {
    let mut details = guest_json();
    for (key, value) in [
        ("last_words", serde_json::json!([])),
        ("required_by", serde_json::json!(["app"])),
        ("restart_policy", "on-failure".into()),
        ("restart_limit", "5/5m".into()),
        ("failures", serde_json::json!([])),
        ("ready_when", "started".into()),
        ("health", serde_json::Value::Null),
        ("held_since", serde_json::Value::Null),
        ("owner", "guestd".into()),
        ("history", serde_json::json!([{"at": "2026-11-21T09:46:00Z", "how": "stopped with the host"}])),
        ("adopted", true.into()),
        ("lxcpath", "/x".into()),
        ("config_changed", false.into()),
        (
            "helper",
            serde_json::json!({"event": "reboot", "decision": "restart", "reason": "", "at": "2026-11-21T09:47:00Z"}),
        ),
    ] {
        details[key] = value;
    }
    details
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.guestd1.Error")]
enum Refusal {
    #[zbus(error)]
    Bus(zbus::Error),
    NoSuchGuest(String),
    NotManaged(String),
    NotAuthorized(String),
}

/// The one lxcpath that it manages, as an option. It is there on every host.
const MANAGED: &str = "lxcpath=\"/tmp\"";

struct Manager {
    script: Frame,
    calls: Arc<Mutex<Vec<Call>>>,
    looked: mpsc::UnboundedSender<u32>,
    canceled: Arc<Mutex<Vec<u32>>>,
    jobs: u32,
}

impl Manager {
    async fn job(&mut self, call: Call, server: &zbus::ObjectServer) -> Result<OwnedObjectPath, Refusal> {
        let verb = call.method;
        let subject = call.subject.clone();
        self.calls.lock().unwrap().push(call);
        match subject.as_str() {
            "nix" | "wep" => {
                return Err(Refusal::NoSuchGuest(format!("no guest is named \"{subject}\"")));
            }
            "forbidden" => {
                return Err(Refusal::NotAuthorized("org.guestd1.start is needed for this".into()));
            }
            "slow" => {
                // A test that waits for this knows that a client waits for the answer.
                let _ = self.looked.send(0);
                return std::future::pending().await;
            }
            _ => {}
        }
        self.jobs += 1;
        let path = job_path(self.jobs);
        if let Some(forgotten) = self.jobs.checked_sub(KEPT).filter(|id| *id > 0) {
            server.remove::<Job, _>(job_path(forgotten)).await?;
        }
        // As the daemon does it: nothing is known of a lost job.
        if subject != "lost" {
            let job = Job {
                id: self.jobs,
                verb,
                frame: self.script.clone(),
                looked: self.looked.clone(),
                canceled: self.canceled.clone(),
            };
            server.at(&path, job).await?;
        }
        Ok(path)
    }
}

/// So many jobs are known.
const KEPT: u32 = 64;

fn job_path(id: u32) -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("/org/guestd1/job/{id}")).unwrap()
}

type Options = HashMap<String, OwnedVariant>;

fn words(options: &Options) -> Vec<String> {
    let mut words: Vec<_> = options.iter().map(|(key, value)| format!("{key}={}", **value)).collect();
    words.sort();
    words
}

fn call(method: &'static str, subject: String, groups: Vec<String>, options: &Options) -> Call {
    Call { method, subject, groups, options: words(options) }
}

#[interface(name = "org.guestd1.Manager")]
impl Manager {
    async fn autostart(
        &mut self,
        action: String,
        groups: Vec<String>,
        options: Options,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job(call("Autostart", action, groups, &options), server).await
    }

    fn plan(
        &mut self,
        action: String,
        groups: Vec<String>,
        options: Options,
    ) -> Result<Vec<(u32, String, u64, String)>, Refusal> {
        let call = call("Plan", action, groups, &options);
        let is_foreign = call.options.iter().any(|word| word.starts_with("lxcpath=") && word != MANAGED);
        self.calls.lock().unwrap().push(call);
        if is_foreign {
            return Err(Refusal::NotManaged("that lxcpath is not managed by guestd".into()));
        }
        Ok(vec![
            (1, "p2".into(), 5_000_000, "in no group, order 100".into()),
            (2, "p1".into(), 0, "group ubuntu".into()),
        ])
    }

    fn refusals(&self, _action: String, _groups: Vec<String>, _options: Options) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn start(
        &mut self,
        name: String,
        options: Options,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job(call("Start", name, Vec::new(), &options), server).await
    }

    async fn stop(
        &mut self,
        name: String,
        options: Options,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job(call("Stop", name, Vec::new(), &options), server).await
    }

    fn get_guest(&self, name: String) -> Result<OwnedObjectPath, Refusal> {
        match name.as_str() {
            "web" => Ok(OwnedObjectPath::try_from("/org/guestd1/guest/web").unwrap()),
            _ => Err(Refusal::NoSuchGuest(format!("no guest is named \"{name}\""))),
        }
    }

    fn list_jobs(&self) -> Vec<(u32, OwnedObjectPath)> {
        (1..=self.jobs).map(|id| (id, job_path(id))).collect()
    }

    fn describe(&self) -> String {
        serde_json::json!({
            "daemon": {"version": "0.1.0", "launcher": "direct", "authorization": "root-only",
                       "order": "highest-first", "max_starting": 4, "lxcpaths": ["/x"], "guests_total": 1,
                       "guests_up": 1, "guests_failed": 0, "diagnostics": 0},
            "guests": [guest_json()],
            "jobs": [{"id": 1, "verb": "start", "state": "running", "done": 0, "total": 2, "status": "starting web",
                      "results": {}, "started": "2026-11-21T09:47:00Z", "ended": null},
                     {"id": 7, "verb": "stop", "state": "done", "done": 1, "total": 1, "status": "",
                      "results": {"web": "done"}, "started": "2026-11-21T09:47:00Z",
                      "ended": "2026-11-21T09:47:01Z"}],
        })
        .to_string()
    }

    fn reload(&self) {}
}

/// guestd, as far as a client sees it.
pub struct Fake {
    connection: Connection,
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub canceled: Arc<Mutex<Vec<u32>>>,
    looked: mpsc::UnboundedReceiver<u32>,
}

impl Fake {
    /// Appears on the bus; every job begins as `script`.
    pub async fn appear(bus: &PrivateBus, script: Frame) -> Self {
        Self::appear_with(bus, script, &[]).await
    }

    /// The same, with jobs that are known already.
    pub async fn appear_with(bus: &PrivateBus, script: Frame, known: &[u32]) -> Self {
        let (calls, canceled) = (Arc::default(), Arc::default());
        let (sender, looked) = mpsc::unbounded_channel();
        let job = |id: u32| Job {
            id,
            verb: "Start",
            frame: script.clone(),
            looked: sender.clone(),
            canceled: Arc::clone(&canceled),
        };
        let jobs: Vec<Job> = known.iter().map(|id| job(*id)).collect();
        let manager = Manager {
            script,
            calls: Arc::clone(&calls),
            looked: sender,
            canceled: Arc::clone(&canceled),
            jobs: 0,
        };
        let connection = Builder::address(bus.address.as_str())
            .serve_at("/org/guestd1", manager)
            .serve_at("/org/guestd1/guest/web", Guest)
            .build()
            .await
            .unwrap();
        for job in jobs {
            connection.object_server().at(job_path(job.id), job).await.unwrap();
        }
        connection.request_name("org.guestd1").await.unwrap();
        Self { connection, calls, canceled, looked }
    }

    /// Waits until a client reads a job's state; it has subscribed to the job's signals by then.
    pub async fn looked_at(&mut self) -> u32 {
        tokio::time::timeout(DEADLINE, self.looked.recv()).await.unwrap().unwrap()
    }

    /// Brings a job forward. The state is told first: the worst order.
    pub async fn show(&self, job: u32, frame: Frame) {
        let reference = self.connection.object_server().interface::<_, Job>(job_path(job)).await.unwrap();
        let emitter = reference.signal_emitter();
        let mut job = reference.get_mut().await;
        job.frame = frame;
        job.state_changed(emitter).await.unwrap();
        job.progress_changed(emitter).await.unwrap();
        job.status_changed(emitter).await.unwrap();
        job.results_changed(emitter).await.unwrap();
    }

    /// Leaves the bus, as a killed daemon does.
    pub async fn vanish(self) {
        self.connection.close().await.unwrap();
    }
}
