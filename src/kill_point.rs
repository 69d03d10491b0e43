//! Named moments of the daemon's life at which it can be killed by a test.
//!
//! A debug build ends itself by SIGKILL at the moment that `GUESTD_KILL_AT` names: `NAME`, or `NAME:N` for the `N`th time
//! that it passes there; several with commas between them, of which the first that is reached counts. In a release build
//! nothing of this is left. `tests/torture` kills the daemon at every one of [`KillPoint::ALL`].

#[cfg(debug_assertions)]
mod armed;

/// Names the moments.
pub const VARIABLE: &str = "GUESTD_KILL_AT";
/// How the line begins that is written to standard error, with the name behind it, before the daemon kills itself.
pub const MARKER: &str = "guestd: killed at ";

macro_rules! kill_points {
    ($($(#[doc = $words:literal])+ $point:ident = $name:literal,)+) => {
        /// A moment at which the daemon can be killed: what it leaves behind there differs from what it leaves elsewhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum KillPoint {
            $($(#[doc = $words])+ $point,)+
        }

        impl KillPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// Its name in [`VARIABLE`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

kill_points! {
    /// The runtime directory is locked, and nothing is read.
    Locked = "locked",
    /// The helper socket is there, and nobody serves it.
    Listening = "listening",
    /// Every guest was looked at, and the jobs of before are not taken up.
    LookedAround = "looked-around",
    /// They are, and nothing of that is stored.
    JobsRestored = "jobs-restored",
    /// All of that is stored and done.
    Recovered = "recovered",
    /// The service manager knows that it is ready; nothing is watched.
    Ready = "ready",
    /// What was held back until it was ready is about to begin.
    HeldBack = "held-back",
    /// Something was decided, and nothing of it is stored.
    Settling = "settling",
    /// A file is written under its temporary name.
    TemporaryWritten = "temporary-written",
    /// A guest's policy is stored; others may follow.
    PolicyWritten = "policy-written",
    /// A guest's policy is removed; others may follow.
    PolicyRemoved = "policy-removed",
    /// The policies are stored, the jobs are not.
    PoliciesStored = "policies-stored",
    /// A job is stored as it was accepted.
    JobWritten = "job-written",
    /// A change of a job is stored; others may follow.
    JobChanged = "job-changed",
    /// The jobs are stored, and nobody was told what is to outlive the boot.
    JobsStored = "jobs-stored",
    /// What is to outlive the boot is handed over; the groups that were brought up are not stored.
    StateHandedOver = "state-handed-over",
    /// What is to outlive the boot is stored of a guest; others may follow.
    StateWritten = "state-written",
    /// The groups that were brought up are stored.
    BootedWritten = "booted-written",
    /// All is stored, and nothing of it done.
    Dispatching = "dispatching",
    /// All of it is under way, and not published.
    Dispatched = "dispatched",
    /// It is published.
    Published = "published",
    /// A job is stored and begun, and its client does not know its number.
    JobAccepted = "job-accepted",
    /// What a client has asked for is on the disk, and it was not told.
    Durable = "durable",
    /// An init was seen, and that is not stored.
    SawRunning = "saw-running",
    /// The end of an init was seen, and that is not stored.
    SawEnd = "saw-end",
    /// The end of a run was seen, and that is not stored.
    SawGone = "saw-gone",
    /// An effect was reported to be over, and that is not stored.
    Reported = "reported",
    /// A helper's request was taken, and nothing of it is stored.
    HelperTaken = "helper-taken",
    /// A helper is about to be answered.
    AnswerBegins = "answer-begins",
    /// A helper was answered.
    AnswerSent = "answer-sent",
    /// Requests in the spool were read, and nobody has heard of them.
    SpoolRead = "spool-read",
    /// They were decided by, and nothing of that is stored.
    SpoolTaken = "spool-taken",
    /// One of them is removed from the spool, since its guest is stored; others may follow.
    SpoolCleared = "spool-cleared",
    /// A start begins.
    StartBegins = "start-begins",
    /// Its pre-start hooks are about to run.
    PreStartBegins = "pre-start-begins",
    /// They have run.
    PreStartEnded = "pre-start-ended",
    /// The engine is about to be told to start.
    EngineBegins = "engine-begins",
    /// Its program runs.
    Launched = "launched",
    /// A start has failed, and what it has left is there.
    StartFailed = "start-failed",
    /// The guest was started, and nobody watches it.
    Started = "started",
    /// It was started and is watched, and that is not reported.
    StartWatched = "start-watched",
    /// A guest is about to be asked to stop.
    StopBegins = "stop-begins",
    /// It was asked.
    StopEnded = "stop-ended",
    /// A guest is about to be asked to reboot.
    RebootBegins = "reboot-begins",
    /// It was asked.
    RebootEnded = "reboot-ended",
    /// A guest is about to be frozen.
    FreezeBegins = "freeze-begins",
    /// It is frozen.
    FreezeEnded = "freeze-ended",
    /// A guest is about to be thawed.
    ThawBegins = "thaw-begins",
    /// It is thawed.
    ThawEnded = "thaw-ended",
    /// A guest is about to be killed.
    KillBegins = "kill-begins",
    /// It is dead, and what it has left is there.
    KillUncleared = "kill-uncleared",
    /// It is dead.
    KillEnded = "kill-ended",
    /// What runs already is about to be watched.
    WatchBegins = "watch-begins",
    /// It is watched.
    WatchEnded = "watch-ended",
    /// A guest is about to be looked at.
    ProbeBegins = "probe-begins",
    /// It was looked at, and that is not reported.
    ProbeEnded = "probe-ended",
    /// The hooks behind a start are about to run.
    PostStartBegins = "post-start-begins",
    /// They have run.
    PostStartEnded = "post-start-ended",
    /// The hooks before a stop are about to run.
    PreStopBegins = "pre-stop-begins",
    /// They have run.
    PreStopEnded = "pre-stop-ended",
    /// The hooks behind a run are about to run.
    PostStopBegins = "post-stop-begins",
    /// They have run.
    PostStopEnded = "post-stop-ended",
    /// The hooks after a failure are about to run.
    OnFailureBegins = "on-failure-begins",
    /// They have run.
    OnFailureEnded = "on-failure-ended",
    /// A reboot script is about to run.
    ScriptBegins = "script-begins",
    /// It has run, and that is not reported.
    ScriptEnded = "script-ended",
}

impl KillPoint {
    /// The process is at this moment: it ends here where that was asked for.
    #[cfg(debug_assertions)]
    pub fn pass(self) {
        armed::pass(self);
    }

    /// The process is at this moment, and goes on.
    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub const fn pass(self) {}
}
