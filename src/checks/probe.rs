//! Asking a guest: by a connection, a look inside, or a program.

use std::{
    ffi::OsString,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::unix::process::ExitStatusExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures_util::future::select_ok;
use tokio::{net::TcpStream, time::timeout};

use super::{gate::Gate, inside::Inside, rhythm::Answer};
use crate::{
    engine::entry::Ways,
    launch::{HookEnd, Launcher, Program, in_words},
    model::{Guest, Probe, Ready, name::clip},
};

/// The most of a probe that is shown, in characters.
const SHOWN: usize = 120;
/// How long a question may take that asks whether a guest is ready: a first packet may be lost before the guest has an
/// address, and the next question finds it. One that is a program may be meant to wait, and has all the time there is.
const PATIENCE: Duration = Duration::from_secs(5);
const LEAST: Duration = Duration::from_secs(1);
/// The most addresses of one name that are tried.
const ADDRESSES: usize = 16;
/// How much longer than it is given a program may take to be killed.
const GRACE: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;

/// How long one question about readiness may take: five seconds, or for a program its `ready.timeout`; never more than that
/// timeout, and never less than a second.
pub fn patience(ready: &Ready, probe: &Probe) -> Duration {
    let most = if matches!(probe, Probe::Exec(_)) { Duration::MAX } else { PATIENCE };
    ready.timeout.min(most).max(LEAST)
}

/// Asks one guest.
pub struct Prober {
    /// Whom.
    pub guest: Arc<Guest>,
    /// It from inside.
    pub inside: Arc<Inside>,
    /// What may hang.
    pub gate: Gate,
    /// Runs programs for it.
    pub launcher: Arc<dyn Launcher>,
    /// How these get into it.
    pub ways: Arc<Ways>,
}

impl Prober {
    /// Asks, and takes no answer in time for a no. Its words say what was asked, and what is wrong.
    pub async fn ask(&self, probe: &Probe, within: Duration) -> Answer {
        let answer = match probe {
            // Whoever ends it has to end it inside the guest too.
            Probe::Exec(argv) => self.run(argv, within).await,
            _ => timeout(within, self.look(probe)).await.unwrap_or_else(|_| Err(no_answer(within))),
        };
        answer.map_err(|why| format!("{}: {why}", clip(&probe.to_string(), SHOWN, &['"', '\''])))
    }

    async fn look(&self, probe: &Probe) -> Answer {
        let found = match probe {
            Probe::Tcp { host, port } => self.connect(host, *port).await,
            Probe::Socket(path) => self.inside(path, |inside, path| inside.connect(path)).await,
            Probe::File(path) => self.inside(path, |inside, path| inside.find(path).map(drop)).await,
            Probe::Exec(_) => Ok(()),
        };
        found.map_err(|error| in_short(&error))
    }

    async fn inside(
        &self,
        path: &Path,
        look: impl FnOnce(&Inside, &Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (inside, path) = (self.inside.clone(), path.to_owned());
        self.gate.through(move || look(&inside, &path)).await?
    }

    /// Connects to all addresses at once; whichever answers first is enough.
    async fn connect(&self, host: &str, port: u16) -> io::Result<()> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let host = host.to_owned();
                let ask = move || (&*host, port).to_socket_addrs().map(Iterator::collect);
                self.gate.through(ask).await??
            }
        };
        let tries =
            addresses.into_iter().take(ADDRESSES).map(|address| Box::pin(TcpStream::connect(address)));
        let tries: Vec<_> = tries.collect();
        if tries.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
        }
        select_ok(tries).await.map(drop)
    }

    /// Runs a program inside. Killing what entered the guest would leave it running, which is in the guest's cgroup; so timeout(1)
    /// kills them, as they are in one process group.
    async fn run(&self, argv: &[String], within: Duration) -> Answer {
        let Some(command) = self.ways.run_inside(&self.guest, argv) else {
            return Err("guest-run, which enters it, is not installed".to_owned());
        };
        let seconds = format!("{:.3}", within.as_secs_f64());
        let mut line: Vec<OsString> = ["timeout", "--signal=KILL", &seconds].map(Into::into).to_vec();
        line.extend(command);
        let timeout = within.saturating_add(GRACE);
        let program = Program { argv: line, environment: Vec::new(), timeout };
        match self.launcher.run_probe(&self.guest.name, &program).await {
            HookEnd::Exited(status) if status.success() => Ok(()),
            HookEnd::Exited(status) if status.signal() == Some(SIGKILL) => Err(no_answer(within)),
            HookEnd::Exited(status) => Err(in_words(status)),
            HookEnd::TimedOut => Err(no_answer(within)),
            HookEnd::Failed(error) => Err(format!("cannot be run: {}", in_short(&error))),
        }
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

/// An error as the end of a sentence, without its number.
fn in_short(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error ").next().unwrap_or_default();
    let mut characters = words.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;
    use crate::{
        launch::Direct,
        model::{EngineSpec, GuestName, LxcSpec},
    };

    #[test]
    fn a_question_has_between_a_second_and_the_whole_time() {
        let ready = |seconds| Ready { timeout: Duration::from_secs_f64(seconds), ..Ready::default() };
        let file = Probe::File("/x".into());
        let exec = Probe::Exec(vec!["/bin/true".into()]);
        for (timeout, probe, expected) in
            [(60.0, &file, 5.0), (3.0, &file, 3.0), (0.1, &file, 1.0), (60.0, &exec, 60.0), (0.1, &exec, 1.0)]
        {
            assert_eq!(patience(&ready(timeout), probe), Duration::from_secs_f64(expected));
        }
    }

    /// Asks a guest that is this process.
    fn prober() -> Prober {
        let spec = LxcSpec::new(Path::new("/var/lib/lxc").into());
        let guest = Guest::new(GuestName::new("web").unwrap(), EngineSpec::Lxc(spec));
        Prober {
            guest: Arc::new(guest),
            inside: Arc::new(Inside::of(std::process::id().cast_signed()).unwrap()),
            gate: Gate::default(),
            launcher: Arc::new(Direct::default()),
            ways: Arc::new(Ways { monitor: None, runtime_dir: "/run/guestd".into() }),
        }
    }

    #[tokio::test]
    async fn connections_are_made_by_address_and_by_name() {
        let prober = prober();
        // Nobody listens yet, and nobody else can have the port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let ask = async |host: &str| {
            prober.ask(&Probe::Tcp { host: host.into(), port }, Duration::from_secs(10)).await
        };
        assert_eq!(ask("127.0.0.1").await, Err(format!("tcp 127.0.0.1:{port}: connection refused")));
        let _listener = socket.listen(8).unwrap();
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(ask(host).await, Ok(()), "{host}");
        }
        let why = ask("none.invalid").await.unwrap_err();
        assert!(why.starts_with(&format!("tcp none.invalid:{port}: failed to lookup")), "{why}");
    }

    #[tokio::test]
    async fn a_guest_that_hangs_is_asked_once_and_has_not_answered() {
        let prober = prober();
        let (let_go, hangs) = std::sync::mpsc::channel::<()>();
        let gate = prober.gate.clone();
        let stuck = tokio::spawn(async move { gate.through(move || hangs.recv()).await });
        while prober.gate.is_free() {
            tokio::task::yield_now().await;
        }
        let file = Probe::File("/".into());
        let answer = prober.ask(&file, Duration::from_millis(20)).await;
        assert_eq!(answer, Err("file /: no answer within 20ms".to_owned()));
        drop(let_go);
        assert!(stuck.await.unwrap().unwrap().is_err());
        assert_eq!(prober.ask(&file, Duration::from_secs(10)).await, Ok(()));
    }

    #[test]
    fn errors_are_short() {
        for (number, words) in [(111, "connection refused"), (2, "no such file or directory")] {
            assert_eq!(in_short(&io::Error::from_raw_os_error(number)), words);
        }
        assert_eq!(in_short(&io::Error::other("its queue is full")), "its queue is full");
    }
}
