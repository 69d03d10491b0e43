//! The server over real sockets, with a task that plays the manager.

use std::{path::PathBuf, sync::Mutex};

use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::daemon::handle::Command;

/// What the manager is asked, and the way to answer.
type Asking = (HelperRequest, oneshot::Sender<Answer>);

/// A server on a socket of its own, and the manager's end of it.
struct Served {
    dir: TempDir,
    asked: mpsc::UnboundedReceiver<Command>,
    facts: Arc<TestFacts>,
}

/// Facts that a test sets and reads.
#[derive(Default)]
struct TestFacts {
    doing: Mutex<Option<String>>,
    abandoned: Mutex<Vec<GuestName>>,
    changed: tokio::sync::Notify,
}

impl Facts for TestFacts {
    fn guest_of(&self, id: u32) -> Option<GuestName> {
        (id == 7).then(|| name("seven"))
    }

    fn progress(&self, _guest: &GuestName) -> Option<String> {
        self.doing.lock().unwrap().clone()
    }

    fn abandoned(&self, guest: &GuestName) {
        self.abandoned.lock().unwrap().push(guest.clone());
        self.changed.notify_one();
    }
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (commands, asked) = mpsc::unbounded_channel();
        let handle = Handle::new(commands, watch::channel(Arc::default()).1);
        let facts = Arc::new(TestFacts::default());
        let listener = bind(&dir.path().join(SOCKET_NAME)).unwrap();
        tokio::spawn(serve(listener, handle, Arc::clone(&facts) as Arc<dyn Facts>));
        Self { dir, asked, facts }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(SOCKET_NAME)
    }

    async fn asking(&mut self) -> Asking {
        match self.asked.recv().await.unwrap() {
            Command::Helper { request, reply } => (request, reply),
            other => panic!("asked for {other:?}"),
        }
    }

    async fn report(&self, packet: &[u8]) -> UnixSeqpacket {
        let socket = UnixSeqpacket::connect(self.path()).await.unwrap();
        assert_eq!(socket.send(packet).await.unwrap(), packet.len());
        socket
    }

    async fn refusal(&self, packet: &[u8]) -> String {
        match reply_on(&self.report(packet).await).await {
            Reply::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn restart() -> Answer {
    Answer { decision: Decision::Restart, reason: "its reboot action is restart".into(), anew: false }
}

async fn reply_on(socket: &UnixSeqpacket) -> Reply {
    let mut buffer = [0; PACKET_MAX + 1];
    let info = timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.unwrap().unwrap();
    Reply::decode(&buffer[..info.bytes_read()]).unwrap()
}

#[tokio::test]
async fn the_managers_answer_comes_back() {
    let mut served = Served::new();
    let socket = served.report(br#"{"guest": "web", "event": "reboot"}"#).await;
    let (request, reply) = served.asking().await;
    assert_eq!(request, HelperRequest { guest: name("web"), event: Event::Reboot });
    reply.send(restart()).unwrap();
    assert_eq!(reply_on(&socket).await, Reply::Answer(restart()));
    let info = socket.recv(&mut [0; 9]).await.unwrap();
    assert_eq!(info.bytes_read(), 0, "the server hangs up");
}

#[tokio::test]
async fn two_at_once_each_get_their_own_answer() {
    let mut served = Served::new();
    let web = served.report(br#"{"guest":"web","event":"reboot"}"#).await;
    let db = served.report(br#"{"guest":"db","event":"halt"}"#).await;
    let mut replies = vec![served.asking().await, served.asking().await];
    replies.sort_by_key(|(request, _)| request.guest.clone());
    for (request, reply) in replies {
        reply.send(Answer { reason: format!("for {}", request.guest), ..restart() }).unwrap();
    }
    for (socket, reason) in [(web, "for web"), (db, "for db")] {
        assert_eq!(reply_on(&socket).await, Reply::Answer(Answer { reason: reason.into(), ..restart() }));
    }
}

#[tokio::test]
async fn bad_packets_are_refused_with_a_reason_and_harm_nobody() {
    let mut served = Served::new();
    let waiting = served.report(br#"{"guest":"web","event":"reboot"}"#).await;
    let (_, reply) = served.asking().await;
    for (packet, part) in [
        (&vec![b' '; 128 * 1024][..], "larger than 8192 bytes"),
        (&[b' '; PACKET_MAX + 1], "larger than 8192 bytes"),
        (&[b' '; PACKET_MAX], "not JSON"),
        (b"", "not JSON"),
        (b"reboot", "not JSON: expected value at line 1"),
        (br#"{"guest":"a/b","event":"reboot"}"#, "names no guest: the name \"a/b\" holds '/'"),
        (br#"{"guest":"web","event":"explode"}"#, "the event \"explode\" is not known"),
    ] {
        let reason = served.refusal(packet).await;
        assert!(reason.contains(part), "{reason}");
    }
    reply.send(restart()).unwrap();
    assert_eq!(reply_on(&waiting).await, Reply::Answer(restart()));
    assert!(served.asked.try_recv().is_err(), "the manager hears nothing of them");
}

#[tokio::test]
async fn ids_are_looked_up() {
    let mut served = Served::new();
    for (event, id) in [("restart", 49152), ("shutdown", 49152), ("netup", 7)] {
        let socket = served.report(format!(r#"{{"id":{id},"event":"{event}"}}"#).as_bytes()).await;
        assert_eq!(reply_on(&socket).await, Reply::Unknown(format!("no guest has the id {id}")));
    }
    let socket = served.report(br#"{"id":7,"event":"swsusp","environment":{"VS_CMD":"1"}}"#).await;
    let Reply::Answer(answer) = reply_on(&socket).await else { panic!("unknown") };
    assert_eq!((answer.decision, &*answer.reason), (Decision::Ignore, "nothing is done on swsusp"));
    let socket = served.report(br#"{"id":7,"event":"restart"}"#).await;
    let (request, reply) = served.asking().await;
    assert_eq!(request, HelperRequest { guest: name("seven"), event: Event::Reboot });
    reply.send(restart()).unwrap();
    assert_eq!(reply_on(&socket).await, Reply::Answer(restart()));
}

#[tokio::test]
async fn progress_goes_to_those_who_ask_for_it() {
    let mut served = Served::new();
    *served.facts.doing.lock().unwrap() = Some("running /etc/ask".into());
    let ours = served.report(br#"{"guest":"web","event":"reboot","progress":true}"#).await;
    let (_, reply_to_ours) = served.asking().await;
    let theirs = served.report(br#"{"guest":"db","event":"reboot"}"#).await;
    let (_, reply_to_theirs) = served.asking().await;
    for _ in 0..2 {
        assert_eq!(reply_on(&ours).await, Reply::Progress("running /etc/ask".into()));
    }
    for reply in [reply_to_ours, reply_to_theirs] {
        reply.send(restart()).unwrap();
    }
    assert_eq!(reply_on(&theirs).await, Reply::Answer(restart()));
    while let Reply::Progress(_) = reply_on(&ours).await {}
}

#[tokio::test]
async fn without_news_from_the_manager_nobody_is_told_of_progress() {
    let mut served = Served::new();
    let socket = served.report(br#"{"guest":"web","event":"reboot","progress":true}"#).await;
    let (_, reply) = served.asking().await;
    let quiet = timeout(PROGRESS_EVERY * 4, socket.recv(&mut [0; 99])).await;
    assert!(quiet.is_err(), "a hung manager must look hung");
    reply.send(restart()).unwrap();
    assert_eq!(reply_on(&socket).await, Reply::Answer(restart()));
}

#[tokio::test]
async fn a_reporter_that_gave_up_is_abandoned() {
    let mut served = Served::new();
    drop(served.report(br#"{"guest":"web","event":"reboot"}"#).await);
    timeout(Duration::from_secs(20), served.facts.changed.notified()).await.unwrap();

    let socket = served.report(br#"{"guest":"db","event":"reboot"}"#).await;
    let (_, mut reply) = served.asking().await;
    drop(socket);
    timeout(Duration::from_secs(20), reply.closed()).await.unwrap();
    timeout(Duration::from_secs(20), served.facts.changed.notified()).await.unwrap();
    assert_eq!(*served.facts.abandoned.lock().unwrap(), [name("web"), name("db")]);
}

#[tokio::test]
async fn a_reporter_that_only_finished_sending_is_answered() {
    let mut served = Served::new();
    let socket = served.report(br#"{"guest":"web","event":"reboot"}"#).await;
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    served.asking().await.1.send(restart()).unwrap();
    assert_eq!(reply_on(&socket).await, Reply::Answer(restart()));
}

#[tokio::test]
async fn a_daemon_that_is_stopping_hangs_up() {
    let mut served = Served::new();
    served.asked.close();
    let socket = served.report(br#"{"guest":"web","event":"reboot"}"#).await;
    let info = timeout(Duration::from_secs(20), socket.recv(&mut [0; 99])).await.unwrap().unwrap();
    assert_eq!(info.bytes_read(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends_and_frees_its_slot() {
    let mut served = Served::new();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(UnixSeqpacket::connect(served.path()).await.unwrap());
    }
    let late = served.report(br#"{"guest":"web","event":"reboot"}"#).await;
    served.asking().await.1.send(restart()).unwrap();
    assert_eq!(reply_on(&late).await, Reply::Answer(restart()));
    for socket in &silent {
        assert_eq!(reply_on(socket).await, Reply::Refused("no packet came within 5 s".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn failing_to_accept_is_survived_without_spinning() {
    let (commands, mut asked) = mpsc::unbounded_channel();
    let handle = Handle::new(commands, watch::channel(Arc::default()).1);
    let (ours, theirs) = UnixSeqpacket::pair().unwrap();
    let mut theirs = Some(theirs);
    let mut failures = 0;
    let accept = async move || {
        failures += 1;
        match failures {
            1..=100 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            _ => match theirs.take() {
                Some(socket) => Ok(socket),
                None => std::future::pending().await,
            },
        }
    };
    let begun = tokio::time::Instant::now();
    let server = tokio::spawn(accept_from(accept, handle, Arc::new(NoFacts)));
    ours.send(br#"{"guest":"web","event":"reboot"}"#).await.unwrap();
    let Some(Command::Helper { reply, .. }) = asked.recv().await else { panic!("nothing was asked") };
    assert!(begun.elapsed() > Duration::from_secs(90), "it waits between tries");
    reply.send(restart()).unwrap();
    assert_eq!(reply_on(&ours).await, Reply::Answer(restart()));
    assert!(!server.is_finished());
}
