//! Without systemd: detached processes, and their cgroups by cgroups-rs.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    Cgroups, HookEnd, Launch, LaunchError, Launched, Launcher, Program, Session, cgroup, descriptors, hook,
    session,
};
use crate::{
    engine::BoxFuture,
    kill_point::KillPoint,
    model::{GuestName, end::SignalName},
};

/// The most that is kept of what a launched program wrote to standard error, in bytes.
const STDERR_MAX: usize = 8 * 1024;
/// The search path of launched programs, and of native guests' own: that of a system service.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Time between two rounds of killing, for what was forked in between.
const KILL_ROUND: Duration = Duration::from_millis(10);

/// Launches programs as own, detached children: each in a process group of its own, so that no signal to the daemon's
/// group or terminal reaches it. The program leaves the daemon's session and cgroup by itself, as LXC's monitor does.
#[derive(Debug, Default)]
pub struct Direct {
    let_go: AtomicBool,
}

impl Launcher for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn unit(&self, _guest: &GuestName) -> Option<String> {
        None
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        Box::pin(async { run_unless_let_go(&launch.program, &self.let_go).await.map(|()| Launched::Up) })
    }

    fn let_go(&self) {
        self.let_go.store(true, Ordering::Relaxed);
    }

    fn run_hook<'a>(&'a self, guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd> {
        Box::pin(hook::run(Some(guest), program))
    }

    fn run_probe<'a>(&'a self, _guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd> {
        Box::pin(hook::run(None, program))
    }

    fn run_session<'a>(
        &'a self,
        _guest: &'a GuestName,
        session: Session,
    ) -> BoxFuture<'a, io::Result<ExitStatus>> {
        Box::pin(session::run(session, &self.let_go))
    }

    fn kill<'a>(&'a self, cgroups: &'a Cgroups, within: Duration) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            while cgroup::kill_once(cgroups)? > 0 {
                if Instant::now() >= deadline {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("processes in {} would not die", shown(cgroups)),
                    ));
                }
                sleep(KILL_ROUND).await;
            }
            Ok(())
        })
    }

    fn remove(&self, cgroups: &Cgroups) -> io::Result<()> {
        cgroup::remove_empty(cgroups)
    }
}

fn shown(cgroups: &Cgroups) -> String {
    cgroups.0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The process group of a program, by its leader, which must not have been waited for: killed unless the program ended
/// by itself, or is let go.
pub(crate) struct Group<'a> {
    leader: Option<Pid>,
    let_go: &'a AtomicBool,
}

impl Group<'static> {
    /// The group of a program that is never let go.
    pub(crate) fn of(leader: Option<u32>) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Group::unless(leader, &NEVER)
    }
}

impl<'a> Group<'a> {
    fn unless(leader: Option<u32>, let_go: &'a AtomicBool) -> Self {
        Self { leader: leader.map(|id| Pid::from_raw(id.cast_signed())), let_go }
    }

    /// The program has ended: its children may live on, and a group without a leader is not ours to kill.
    pub(crate) fn spare(mut self) {
        self.leader = None;
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.filter(|_| !self.let_go.load(Ordering::Relaxed)) {
            // It may have ended in this moment: then there is nothing to kill.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// Runs a program to its end. Dropping the future ends it.
///
/// # Errors
/// [`LaunchError`] when it cannot be run, fails, or takes too long.
pub async fn run(program: &Program) -> Result<(), LaunchError> {
    run_unless_let_go(program, &AtomicBool::new(false)).await
}

async fn run_unless_let_go(launch: &Program, let_go: &AtomicBool) -> Result<(), LaunchError> {
    let program = launch.name();
    let mut child =
        spawn(launch).map_err(|source| LaunchError::Spawn { program: program.clone(), source })?;
    KillPoint::Launched.pass();
    let group = Group::unless(child.id(), let_go);
    let mut tail = Tail::default();
    let Ok(ended) = timeout(launch.timeout, wait(&mut child, &mut tail)).await else {
        return Err(LaunchError::TimedOut { program, timeout: launch.timeout });
    };
    group.spare();
    let status = ended.map_err(|source| LaunchError::Spawn { program: program.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(LaunchError::Exited { program, status: in_words(status), stderr: tail.text() })
}

fn spawn(launch: &Program) -> io::Result<Child> {
    Command::from(command(launch)?).stderr(Stdio::piped()).spawn()
}

/// A program as a command: with nothing in its environment but its own and a search path, with nothing to read and
/// nobody to hear what it prints. It leads a process group.
pub(crate) fn command(program: &Program) -> io::Result<process::Command> {
    let mut command = bare(program)?;
    command.process_group(0);
    Ok(command)
}

/// The same in the daemon's own process group, for what leaves that by itself: who leads one could begin no session.
pub(super) fn bare(program: &Program) -> io::Result<process::Command> {
    let (named, arguments) = program
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program was given"))?;
    let mut command = process::Command::new(found(named)?);
    descriptors::keep();
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

/// Finds a program as a shell would, before the process is made: the standard library only then makes it without
/// copying the daemon's memory.
pub(super) fn found(program: &OsStr) -> io::Result<PathBuf> {
    let named = Path::new(program);
    if named.components().count() > 1 {
        return Ok(named.to_owned());
    }
    let places = PATH.split(':').map(|folder| Path::new(folder).join(named));
    let executable = |path: &PathBuf| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
    places.filter(|path| path.is_file()).find(executable).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Waits for the program, reading what it says meanwhile so that it never blocks on a full pipe.
async fn wait(child: &mut Child, tail: &mut Tail) -> io::Result<ExitStatus> {
    let Some(mut stderr) = child.stderr.take() else {
        return child.wait().await;
    };
    let mut buffer = [0; 4096];
    let mut open = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = stderr.read(&mut buffer), if open => match read {
                Ok(count) if count > 0 => tail.push(&buffer[..count]),
                _ => open = false,
            },
        }
    };
    if open {
        drain(&mut stderr, tail).await;
    }
    Ok(status)
}

/// Takes what is already in the pipe. Its end may never come: background processes inherit it.
async fn drain(stderr: &mut (impl AsyncRead + Unpin), tail: &mut Tail) {
    let mut buffer = [0; 4096];
    let mut left = 64 * 1024;
    while left > 0 {
        match timeout(Duration::ZERO, stderr.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                tail.push(&buffer[..count]);
                left -= count.min(left);
            }
            _ => return,
        }
    }
}

/// How a program ended.
pub(crate) fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => SignalName(signal).to_string(),
        (None, None) => format!("wait status {:#x}", status.into_raw()),
    }
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(STDERR_MAX);
        self.0.drain(..surplus);
    }

    fn text(mut self) -> String {
        String::from_utf8_lossy(self.0.make_contiguous()).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str, timeout: Duration) -> Program {
        Program {
            argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
            environment: vec![("MARK".into(), "a b".into())],
            timeout,
        }
    }

    #[tokio::test]
    async fn a_program_that_ends_well_is_a_success_though_its_children_live_on() {
        let launch = shell(
            "[ \"$MARK\" = 'a b' ] && [ -z \"$HOME\" ] && [ $(pwd) = / ] && sleep 5 &",
            Duration::from_secs(4),
        );
        run(&launch).await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_carries_the_status_and_the_last_words() {
        let launch = shell("yes x | head -c 20000 >&2; echo last words >&2; exit 3", Duration::from_secs(4));
        let LaunchError::Exited { status, stderr, .. } = run(&launch).await.unwrap_err() else {
            panic!("not an exit")
        };
        assert_eq!(status, "status 3");
        assert!(stderr.ends_with("last words") && stderr.len() <= STDERR_MAX, "{} bytes", stderr.len());
        let missing = Program { argv: vec!["/nonexistent".into()], ..shell("", Duration::from_secs(1)) };
        assert!(matches!(run(&missing).await.unwrap_err(), LaunchError::Spawn { .. }));
    }

    #[tokio::test]
    async fn at_the_deadline_the_whole_group_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 60 & echo $! > {0}; echo $$ >> {0}; wait", pids.display());
        let error = run(&shell(&script, Duration::from_millis(300))).await.unwrap_err();
        assert!(matches!(error, LaunchError::TimedOut { .. }), "{error}");
        let pids = fs::read_to_string(&pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            gone(pid).await;
        }
    }

    #[tokio::test]
    async fn a_launch_that_is_dropped_is_killed_unless_it_is_let_go() {
        for let_go in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            nix::unistd::mkfifo(&at("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            let script = format!("cd {}; echo $$ > pid; read x < go; echo > on", folder.path().display());
            let (launcher, launch) = (Direct::default(), shell(&script, Duration::from_secs(60)));
            let begun = async {
                until(|| fs::read_to_string(at("pid")).is_ok_and(|pid| pid.ends_with('\n'))).await;
                if let_go {
                    launcher.let_go();
                }
            };
            tokio::select! {
                ended = run_unless_let_go(&launch, &launcher.let_go) => panic!("{ended:?}"),
                () = begun => {}
            }
            if let_go {
                // Opened for reading too, so that it waits for nobody.
                let mut go = fs::File::options().read(true).write(true).open(at("go")).unwrap();
                io::Write::write_all(&mut go, b"\n").unwrap();
                until(|| at("on").exists()).await;
            } else {
                gone(fs::read_to_string(at("pid")).unwrap().trim()).await;
            }
        }
    }

    async fn until(holds: impl Fn() -> bool) {
        timeout(Duration::from_secs(5), async {
            while !holds() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it never comes true");
    }

    /// Waits until a process is dead; a zombie counts, since it may have been reparented to a lazy init.
    async fn gone(pid: &str) {
        let alive = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'),
            Err(_) => false,
        };
        until(|| !alive()).await;
    }
}
