//! For guests in the manner of Linux-VServer: their helper is called as the kernel called it (kernel/vserver/helper.c).

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    time::Duration,
};

use super::{
    network::{self, Away},
    say::say,
    spec::Spec,
};
use crate::{
    helper::vshelper::called::{GUEST, MONITOR, RUNTIME},
    model::native::Helper,
};

/// Where the package of the helper puts it.
const USUAL: &str = "/sbin/vshelper";
/// How long it may take: the kernel waited for ever, and so did the guest.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where guests and their defaults say what their helper does, in the folder of each.
const FOLDERS: [&str; 2] = ["apps/vshelper", "apps/vshelper-delegate"];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It asked to reboot.
    Restart,
    /// It asked to halt, or to power off: which of them, today's kernels do not say.
    Halt,
    /// Its init was killed for want of memory.
    Oom,
    /// It begins to run.
    Startup,
    /// Nothing of it runs any more.
    Shutdown,
}

impl Happening {
    /// The kernel's word, and the command that it told in `VS_CMD`: that of reboot(2), or of a change of the context's state
    /// (include/linux/vserver/base.h).
    fn words(self) -> (&'static str, u32) {
        match self {
            Self::Restart => ("restart", 0x0123_4567),
            Self::Halt => ("halt", 0xCDEF_0123),
            Self::Oom => ("oom", 0xDEAD_BEEF),
            Self::Startup => ("startup", 1),
            Self::Shutdown => ("shutdown", 2),
        }
    }

    fn is_change_of_state(self) -> bool {
        matches!(self, Self::Startup | Self::Shutdown)
    }
}

/// Tells the guest's helper what happened, if it has one, and waits for it. What comes of it changes nothing, and is told.
pub fn tell(spec: &Spec, what: Happening, away: Option<&Away>) {
    if let Some((program, result)) = call(spec, what, away) {
        let program = program.display();
        match result {
            Ok(status) if !status.success() => {
                let (word, how) = (what.words().0, crate::launch::in_words(status));
                say(&format!("{program}, told {word}, ended with {how}"));
            }
            Ok(_) => {}
            Err(error) => say(&format!("cannot run {program}: {error}")),
        }
    }
}

/// Asks the guest's helper whether its reboot may go on. It may where there is no helper, or where that cannot be run.
pub fn agrees(spec: &Spec, away: Option<&Away>) -> bool {
    match call(spec, Happening::Restart, away) {
        Some((program, Ok(status))) if status.code().is_none() => {
            let how = crate::launch::in_words(status);
            say(&format!("{}, asked about a reboot, ended with {how}; it goes on", program.display()));
            true
        }
        Some((_, Ok(status))) => status.success(),
        Some((program, Err(error))) => {
            say(&format!("cannot ask {} about a reboot: {error}; it goes on", program.display()));
            true
        }
        None => true,
    }
}

/// Calls the helper of a guest that has one, where it would do something.
fn call(spec: &Spec, what: Happening, away: Option<&Away>) -> Option<(PathBuf, std::io::Result<ExitStatus>)> {
    let Helper::Vshelper { program, context, folder } = &spec.native.helper else { return None };
    let own = spec.helper.first().map(PathBuf::as_path);
    let usual = Some(Path::new(USUAL)).filter(|path| path.exists());
    let called = program.as_deref().or(usual);
    if is_own(called, own) && !matches!(what, Happening::Restart | Happening::Halt) && has_nothing(folder) {
        return None;
    }
    let program = called.or(own)?.to_owned();
    let mut command = super::program::command(&program);
    if called.is_none() {
        command.args(spec.helper.iter().skip(1).take_while(|word| *word != Path::new("--guest")));
        command.arg("vshelper");
    }
    let (word, number) = what.words();
    command.args([word, &context.to_string()]).env_clear().envs(environment(spec, what, number));
    network::on_host(&mut command, away);
    Some((program, super::program::run(command.stdin(Stdio::null()), PATIENCE)))
}

/// Whether guestd's own helper would be called.
fn is_own(called: Option<&Path>, own: Option<&Path>) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    match (called, own) {
        (None, _) => true,
        (Some(called), Some(own)) => real(called).is_some_and(|called| Some(called) == real(own)),
        (Some(_), None) => false,
    }
}

/// Whether neither the guest nor the defaults say anything about their helper.
fn has_nothing(folder: &Path) -> bool {
    let defaults = folder.parent().map(|above| above.join(".defaults"));
    let mut all = [Some(folder.to_owned()), defaults].into_iter().flatten();
    !all.any(|above| FOLDERS.iter().any(|name| fs::symlink_metadata(above.join(name)).is_ok()))
}

/// What the kernel gave it, and what guestd's own helper has to know: the guest, the runtime directory, and that its exit status
/// is an answer.
fn environment(spec: &Spec, what: Happening, number: u32) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&str, OsString)> = vec![
        ("HOME", "/".into()),
        ("TERM", "linux".into()),
        ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin".into()),
        ("VS_CMD", format!("{number:08x}").into()),
        (GUEST, spec.guest.as_str().into()),
        (MONITOR, process::id().to_string().into()),
    ];
    if !what.is_change_of_state() {
        // Its root's, and its init's as it sees itself.
        variables.extend([("VS_UID", "0".into()), ("VS_PID", "1".into())]);
    }
    let runtime = spec.helper.iter().skip_while(|word| *word != Path::new("--runtime-dir")).nth(1);
    variables.extend(runtime.map(|runtime| (RUNTIME, runtime.clone().into_os_string())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_told_in_eight_digits() {
        for (what, word, number) in [
            (Happening::Restart, "restart", "01234567"),
            (Happening::Halt, "halt", "cdef0123"),
            (Happening::Startup, "startup", "00000001"),
            (Happening::Shutdown, "shutdown", "00000002"),
        ] {
            let (said, told) = what.words();
            assert_eq!((said, format!("{told:08x}").as_str()), (word, number));
        }
    }

    #[test]
    fn folders_that_say_nothing_are_known() {
        let vservers = tempfile::tempdir().unwrap();
        let guest = vservers.path().join("web");
        assert!(has_nothing(&guest));
        fs::create_dir_all(vservers.path().join(".defaults/apps/vshelper-delegate")).unwrap();
        assert!(!has_nothing(&guest));
    }

    #[test]
    fn a_link_to_guestds_own_helper_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (own, link) = (folder.path().join("guest-helper"), folder.path().join("vshelper"));
        fs::write(&own, "").unwrap();
        std::os::unix::fs::symlink("guest-helper", &link).unwrap();
        assert!(is_own(None, Some(&own)) && is_own(Some(&link), Some(&own)));
        assert!(!is_own(Some(Path::new("/bin/sh")), Some(&own)) && !is_own(Some(&link), None));
    }
}
