//! Starting a container with `lxc-start`.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Hook, Lxc,
    command::{CommandError, Monitor},
    foreground::{self, Absent},
    kill::{self, Listening},
    locate::same_file,
    notify,
    reason::Log,
    record::State,
    socket::{self, Address},
};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind},
    kill_point::KillPoint,
    launch::{Launch, LaunchError, Launched, Program, Unit, unit},
    model::{Guest, GuestName, LxcSpec},
};

const OPERATION: &str = "start it with lxc-start";
/// How the name of a start's log begins, which goes on with guest, process and number, and how it ends.
const LOG: &str = "lxc-start-";
const LOG_END: &str = ".log";

/// Starts a container; returns when its init runs. After a failure nothing of it is left.
pub(super) async fn start(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    is_free(guest, spec).await?;
    let mut expected = lxc.expect(spec, guest);
    let log = log_for(&lxc.hook.runtime_dir, guest, spec);
    let mut argv = command_line(&lxc.hook, guest, spec, &log, lxc.launcher.unit(&guest.name).is_some());
    if let Some(console) = lxc.console.as_ref().filter(|_| !spec.own_console) {
        argv.extend(console.begins(&guest.name));
    }
    argv.extend(notify::settings(&lxc.hook.runtime_dir, guest));
    let program = Program { argv, environment: Vec::new(), timeout: guest.start.timeout };
    let launch = Launch { guest: guest.name.clone(), program, unit: unit(guest, spec) };
    match launched(lxc, &launch, spec, &mut expected.states).await {
        Ok(()) => {
            expected.came_true();
            Ok(())
        }
        Err(error) => {
            expected.failed();
            KillPoint::StartFailed.pass();
            let listening = match error {
                LaunchError::TimedOut { .. } => Listening::Hangs,
                LaunchError::Spawn { .. } | LaunchError::Unit { .. } | LaunchError::Exited { .. } => {
                    Listening::Ends
                }
            };
            let error = explained(error, &log, spec, guest);
            // What the start left behind would be in the way of the next one. The reason to tell is the first one.
            if let Err(left) = kill::sweep(lxc, guest, spec, listening).await {
                let (name, reason) = (&guest.name, left.reason);
                let unit = unit::name(name);
                tracing::warn!(guest = %name, object_systemd_unit = unit, "{name}: a failed start left something behind: {reason}");
            }
            lxc.console.iter().for_each(|console| console.ended(&guest.name));
            Err(error)
        }
    }
}

/// Launches a container, and waits until it runs.
async fn launched(
    lxc: &Lxc,
    launch: &Launch,
    spec: &LxcSpec,
    states: &mut mpsc::UnboundedReceiver<State>,
) -> Result<(), LaunchError> {
    let Program { timeout, .. } = launch.program;
    let deadline = Instant::now() + timeout;
    let socket = Monitor::new(&spec.lxcpath, launch.guest.as_str());
    let program = launch.program.name();
    loop {
        let launched = lxc.launcher.launch(launch).await?;
        if launched == Launched::Up {
            return Ok(());
        }
        match foreground::runs(&launch.guest, &*lxc.launcher, &socket, states, deadline).await {
            Ok(()) => return Ok(()),
            // It was that of a run before, at its end.
            Err(Absent::Ended) if launched == Launched::Found && Instant::now() < deadline => {}
            Err(Absent::Ended) => {
                return Err(LaunchError::Exited {
                    program,
                    status: "a failure".to_owned(),
                    stderr: String::new(),
                });
            }
            Err(Absent::TimedOut) => return Err(LaunchError::TimedOut { program, timeout }),
        }
    }
}

/// What systemd has to know of a container.
fn unit(guest: &Guest, spec: &LxcSpec) -> Unit {
    let folder = spec.lxcpath.join(guest.name.as_str());
    let mut files: Vec<PathBuf> = spec.rootfs.as_deref().into_iter().flat_map(roots).collect();
    // What is mounted for a path is mounted for those above it.
    if !files.iter().any(|root| root.starts_with(&folder)) {
        files.push(folder);
    }
    let name = guest.name.as_str();
    // Where guestd is gone, LXC itself asks, waits and kills.
    let mut stop =
        ["guestctl", "unit-stop", name, "--", "lxc-stop", "-n", name, "-t"].map(OsString::from).to_vec();
    stop.extend([guest.stop.timeout.as_secs().to_string().into(), "-P".into()]);
    stop.push(socket::trimmed(&spec.lxcpath).into());
    Unit {
        description: format!("LXC container {name}"),
        files,
        stop,
        stop_timeout: guest.stop.timeout,
        network_online: guest.start.network_online,
        resources: guest.resources,
        console: false,
    }
}

/// The paths in `lxc.rootfs.path`: `[TYPE:]PATH`, several with colons between them for an overlay.
fn roots(rootfs: &str) -> impl Iterator<Item = PathBuf> + '_ {
    rootfs.split(':').filter(|part| part.starts_with('/')).map(PathBuf::from)
}

/// Makes sure of what LXC would not: that nobody but a monitor has the command socket, whom LXC would not name, and that
/// the container does not run by another path, when LXC would start it a second time.
async fn is_free(guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    let monitor = Monitor::new(&spec.lxcpath, guest.name.as_str());
    if let Err(error @ CommandError::Foreign(_)) = Monitor::within(monitor.state()).await {
        return Err(error.about(OPERATION));
    }
    let Some(other) = other_path(guest, spec).await else { return Ok(()) };
    let (other, own) = (other.display(), spec.lxcpath.display());
    let reason = format!(
        "it runs already by the path {other}, which leads to the same folder as {own}; stop it with \"lxc-stop -P {other} -n \
         {}\", or name that path in guestd's settings instead",
        guest.name
    );
    Err(EngineError { operation: OPERATION, kind: ErrorKind::Busy, reason })
}

/// The lxcpath by which a container runs that lies in the same folder: LXC names its sockets after paths as they are given.
async fn other_path(guest: &Guest, spec: &LxcSpec) -> Option<PathBuf> {
    let name = guest.name.as_str();
    let own = socket::command(&spec.lxcpath, name);
    let folder = spec.lxcpath.join(name);
    let canonical = std::fs::canonicalize(&spec.lxcpath).ok()?;
    for listener in socket::listeners().ok()?.into_iter().filter(|listener| listener.name != own) {
        let path = match socket::container(&listener.name) {
            Some(Address::Named(other)) if other == name.as_bytes() => socket::lxcpath(&listener.name, name),
            Some(Address::Hashed) if listener.name == socket::command(&canonical, name) => {
                Some(canonical.clone())
            }
            _ => None,
        };
        let Some(path) = path else { continue };
        if !socket::is_foreign(&listener.name).await && same_file(&path.join(name), &folder) {
            return Some(path);
        }
    }
    None
}

fn log_for(runtime_dir: &Path, guest: &Guest, spec: &LxcSpec) -> Log {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    match &spec.log_file {
        Some(path) => Log::of_container(Path::new(&**path)),
        None => {
            let number = STARTS.fetch_add(1, Ordering::Relaxed);
            let file = format!("{LOG}{}-{}-{number}{LOG_END}", guest.name, std::process::id());
            Log::of_start(runtime_dir.join(file))
        }
    }
}

/// Removes the logs of starts that earlier daemons did not live to remove. Called before the first start.
pub(super) fn remove_old_logs(runtime_dir: &Path) {
    for entry in std::fs::read_dir(runtime_dir).into_iter().flatten().flatten() {
        let daemon = entry.file_name().to_str().and_then(daemon_of);
        let is_over = |pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
        if daemon.is_some_and(is_over)
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// The process that a log's name tells.
fn daemon_of(log: &str) -> Option<u32> {
    let mut parts = log.strip_prefix(LOG)?.strip_suffix(LOG_END)?.rsplitn(3, '-');
    parts.next()?.parse::<u64>().ok()?;
    let pid = parts.next()?.parse().ok()?;
    GuestName::new(parts.next()?).ok().map(|_| pid)
}

fn command_line(hook: &Hook, guest: &Guest, spec: &LxcSpec, log: &Log, in_unit: bool) -> Vec<OsString> {
    let mode = if in_unit { "-F" } else { "-d" };
    let mut line: Vec<OsString> = ["lxc-start", mode, "-n"].map(Into::into).to_vec();
    line.push(guest.name.as_str().into());
    line.push("-P".into());
    line.push(socket::trimmed(&spec.lxcpath).into());
    if let Some(path) = log.option() {
        line.push("-o".into());
        line.push(path.into());
    }
    if let Some(helper) = &hook.helper {
        line.push("-s".into());
        line.push(setting(helper, &hook.runtime_dir));
    }
    if in_unit {
        // Its cgroups inside the unit's own, which LXC leaves otherwise.
        line.extend(["-s", "lxc.cgroup.relative = 1"].map(Into::into));
    }
    line
}

/// The hook as a setting for `lxc-start -s`, which adds it behind the container's own hooks. LXC gives the line to a
/// shell, with `NAME lxc post-stop` behind it in hook version 0.
fn setting(helper: &Path, runtime_dir: &Path) -> OsString {
    let mut line = b"lxc.hook.post-stop = ".to_vec();
    quote(helper, &mut line);
    line.extend(b" --runtime-dir ");
    quote(runtime_dir, &mut line);
    line.extend(b" lxc-hook");
    OsString::from_vec(line)
}

/// A path as one word of a shell. What needs no quotes gets none.
fn quote(path: &Path, line: &mut Vec<u8>) {
    let bytes = OsStr::as_bytes(path.as_os_str());
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(byte);
    if bytes.iter().all(plain) && !bytes.is_empty() {
        line.extend(bytes);
        return;
    }
    line.push(b'\'');
    for byte in bytes {
        if *byte == b'\'' {
            line.extend(b"'\\''");
        } else {
            line.push(*byte);
        }
    }
    line.push(b'\'');
}

/// The launcher's failure, with LXC's own words.
fn explained(error: LaunchError, log: &Log, spec: &LxcSpec, guest: &Guest) -> EngineError {
    let (kind, reason) = match error {
        LaunchError::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            (ErrorKind::Unavailable, "lxc-start is not installed".to_owned())
        }
        LaunchError::Spawn { .. } | LaunchError::Unit { .. } => (ErrorKind::Unavailable, error.to_string()),
        LaunchError::TimedOut { timeout, .. } => {
            let said = log.reason("").map(|words| format!(": {words}")).unwrap_or_default();
            let timeout = humantime::format_duration(timeout);
            (ErrorKind::TimedOut, format!("it was not running after {timeout} (start.timeout){said}"))
        }
        LaunchError::Exited { ref stderr, .. } => {
            let (kind, reason) = log.failure(stderr);
            let kind = match spec.config(&guest.name).try_exists() {
                Ok(false) => ErrorKind::Missing,
                _ => kind,
            };
            (kind, reason.unwrap_or_else(|| error.to_string()))
        }
    };
    EngineError { operation: OPERATION, kind, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // Greater than any process's number.
        let old = ["lxc-start-web-4194305-0.log".to_owned(), format!("lxc-start-a-1-{own}-7.log")];
        let other = [
            "lxc-start-web-1-0.log",
            "lxc-start-4194305-0.log",
            "lxc-start-web-4194305-x.log",
            "lxc-start-web-4194305-0.log~",
            "helper.sock",
        ];
        for name in old.iter().map(String::as_str).chain(other) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        remove_old_logs(folder.path());
        assert!(old.iter().all(|name| !folder.path().join(name).exists()));
        assert!(other.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn the_hook_survives_the_shell() {
        let hook = |dir: &str| setting(Path::new("/usr/lib/guestd/guest-helper"), Path::new(dir));
        assert_eq!(
            hook("/run/guestd"),
            "lxc.hook.post-stop = /usr/lib/guestd/guest-helper --runtime-dir /run/guestd lxc-hook"
        );
        let odd = "/run/a b'$(x)\"`\\*";
        let setting = hook(odd).into_string().unwrap();
        let (_, line) = setting.split_once(" = ").unwrap();
        let words = line.replacen("/usr/lib/guestd/guest-helper", "printf '%s\\n'", 1);
        let out = std::process::Command::new("/bin/sh").args(["-c", &words]).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("--runtime-dir\n{odd}\nlxc-hook\n"));
    }
}
