//! People in guests: what runs in a guest for somebody who is connected with it, for as long as he is.

use std::{
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;

use super::programs;
use crate::{
    engine::entry::{self, Entry, Ways},
    launch::{self, Launcher, Program, unit},
    model::{
        GuestName, Rejection, Usage,
        name::clip,
        status::{GuestStatus, PhaseWord, Snapshot},
    },
};

/// The most of a program's name that is told, in characters.
const SHOWN: usize = 120;
/// What a session begins with everywhere. Its search path is the engine's affair.
const ENVIRONMENT: [(&str, &str); 3] = [("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root")];

/// What somebody wants in a guest.
#[derive(Debug)]
pub struct SessionWish {
    /// In which.
    pub guest: GuestName,
    /// His console instead of a command.
    pub console: bool,
    /// Program and arguments; the root's shell where there are none.
    pub command: Vec<String>,
    /// What his terminal is.
    pub term: Option<String>,
    /// Who it is.
    pub uid: u32,
    /// Input, output and errors.
    pub stdio: [OwnedFd; 3],
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its program exited with this status.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

impl From<ExitStatus> for SessionEnd {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or_default()),
        }
    }
}

/// Runs sessions. By itself it cannot: a manager that is played has no guests to be in.
#[derive(Clone, Default)]
pub struct Sessions(Option<(Arc<dyn Launcher>, Ways)>);

impl Sessions {
    /// With what runs programs for guests, and the ways into these.
    pub fn run_by(launcher: Arc<dyn Launcher>, ways: Ways) -> Self {
        Self(Some((launcher, ways)))
    }

    /// Runs a session to its end; `begun` is told once it has begun. Dropping the future ends it.
    ///
    /// # Errors
    /// [`Rejection::Refused`] where the guest does not run, or the session cannot.
    pub async fn run(
        &self,
        snapshot: &Snapshot,
        wish: SessionWish,
        begun: oneshot::Sender<()>,
    ) -> Result<SessionEnd, Rejection> {
        let name = wish.guest.clone();
        let refused = |reason: String| Rejection::Refused { guest: name.clone(), reason };
        let Some(guest) = snapshot.guests.get(&wish.guest) else {
            return Err(Rejection::NoSuchGuest(name.to_string()));
        };
        runs(guest).map_err(refused)?;
        let environment = ENVIRONMENT.into_iter().chain(wish.term.as_deref().map(|term| ("TERM", term)));
        let environment: Vec<_> = environment.collect();
        let entry = if wish.console { Entry::Console } else { Entry::Command(&wish.command) };
        let way = self
            .0
            .as_ref()
            .and_then(|(launcher, ways)| Some((launcher, ways.command_line(guest, entry, &environment)?)));
        let Some((launcher, line)) = way else {
            let what = if wish.console { "its console cannot be used" } else { "nobody can get into it" };
            return Err(refused(format!("{what}: its engine is {}", guest.engine)));
        };
        tell(&wish);
        let argv = [programs::runner(), "unit-session".into(), "--".into()].into_iter().chain(line).collect();
        let program = Program { argv, environment: Vec::new(), timeout: Duration::MAX };
        let session = launch::Session { program, stdio: wish.stdio, begun };
        let status = launcher.run_session(&name, session).await;
        let failed = |error: io::Error| refused(format!("its session cannot be run: {error}"));
        status.map(SessionEnd::from).map_err(failed)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.0.as_ref().map(|(launcher, _)| launcher.name())).finish()
    }
}

/// What these guests use; those that do not run are left out. Reads a few files for each.
pub fn usage<'a>(guests: impl IntoIterator<Item = &'a GuestStatus>) -> Vec<(GuestName, Usage)> {
    let used = |guest: &GuestStatus| Some((guest.name.clone(), entry::usage(guest)?));
    guests.into_iter().filter_map(used).collect()
}

/// Whether somebody can be in a guest; else why not.
fn runs(guest: &GuestStatus) -> Result<(), String> {
    match guest.phase {
        PhaseWord::Up | PhaseWord::Stopping if guest.init_pid.is_some() => Ok(()),
        PhaseWord::Frozen => Err(format!("it is frozen; \"guestctl thaw {}\" lets it go on", guest.name)),
        PhaseWord::Starting => Err("it is being started; try again when it is up".into()),
        PhaseWord::BackingOff => Err("it does not run, and is about to be started again".into()),
        phase => Err(format!("it does not run: it is {}", phase.as_str())),
    }
}

/// Who is where, and with what; arguments may be secrets.
fn tell(wish: &SessionWish) {
    let what = match (wish.console, wish.command.first()) {
        (true, _) => "its console".to_owned(),
        (false, None) => "a shell".to_owned(),
        (false, Some(program)) => clip(program, SHOWN, &['"']),
    };
    let (guest, uid) = (&wish.guest, wish.uid);
    tracing::info!(guest = %guest, object_systemd_unit = unit::name(guest), "{guest}: user {uid} attaches to it: {what}");
}
