//! The order of a guest's start and stop: that of `vserver start` and `vserver stop`.

use std::{path::Path, time::Duration};

use crate::{
    import::{Effective, layer::quoted},
    model::{Deed, Lifecycle, Mount, Origin, Place, Step, end::SignalName},
};

use super::{
    fstab::Mounts,
    init::Said,
    reading::Reading,
    script::{self, Stage},
};

/// How a guest's stop ends, which depends on how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its init ends by itself, in its own time.
    ends_by_itself: bool,
    killseq: Vec<(i32, u64)>,
}

impl Ending {
    /// Waits, and kills what is left then; all within the timeout of the stop.
    pub(super) fn steps(&self, timeout: Duration) -> [Step; 2] {
        let kills: u64 = self.killseq.iter().map(|(_, seconds)| seconds).sum();
        // A second is for the rest.
        let left = timeout.as_secs().saturating_sub(kills + 1).max(1);
        let seconds = if self.ends_by_itself { left } else { 1 };
        let step = |name: &str, what| Step { name: name.to_owned(), what, must_succeed: false };
        [step("wait", Deed::Await(seconds)), step("killseq", Deed::KillSequence(self.killseq.clone()))]
    }
}

/// All steps, but for the end of the stop.
pub(super) fn compose(reading: &mut Reading<'_>, mounts: Mounts, init: Said) -> (Lifecycle, Ending) {
    let Mounts { root, has_checks, local, remote, .. } = mounts;
    let mut before = script::steps(reading, Stage::Initialize);
    if has_checks {
        before.push(check(reading));
    }
    // Without its root a guest is not started; util-vserver goes on without the others.
    before.extend(root.map(|root| Step { must_succeed: true, ..mount(root) }));
    before.extend(script::steps(reading, Stage::PrepreStart));
    before.push(Step { name: "network".to_owned(), what: Deed::Network, must_succeed: false });
    before.extend(local.into_iter().map(mount));
    before.extend(remote.into_iter().map(|remote| step_of(Deed::RemoteMount, remote)));
    before.extend(init.prepare);
    before.extend(script::steps(reading, Stage::PreStart));
    let mut after = init.started;
    after.extend(script::steps(reading, Stage::PostStart));
    let mut stop = script::steps(reading, Stage::PreStop);
    stop.extend(init.stop);
    let ended = script::steps(reading, Stage::PostStop);
    let removed = script::steps(reading, Stage::PostpostStop);
    let ending = Ending { ends_by_itself: init.ends_by_itself, killseq: init.killseq };
    (Lifecycle { before, after, stop, ended, removed }, ending)
}

fn mount(mount: Mount) -> Step {
    step_of(Deed::Mount, mount)
}

fn step_of(deed: impl FnOnce(Mount) -> Deed, mount: Mount) -> Step {
    Step { name: format!("mount {}", mount.target), what: deed(mount), must_succeed: false }
}

/// Looks at the file systems of `fstab` that say so, and changes nothing: 1 is what it says of one that was mended.
fn check(reading: &Reading<'_>) -> Step {
    let file = format!("FSTAB_FILE={}", reading.guest.at("fstab").display());
    let words = ["/usr/bin/env", &file, "/sbin/fsck", "-s", "-n", "-A", "-T"];
    let argv = words.map(str::to_owned).to_vec();
    let directory = Place::Folder(reading.folder().to_owned());
    let what = Deed::Run { argv, directory, success: vec![1] };
    Step { name: "fsck".to_owned(), what, must_succeed: true }
}

/// The steps, for showing.
pub(super) fn rows(lifecycle: &Lifecycle, folder: &Path) -> Vec<Effective> {
    let parts = [
        ("lifecycle.before", &lifecycle.before),
        ("lifecycle.after", &lifecycle.after),
        ("lifecycle.stop", &lifecycle.stop),
        ("lifecycle.ended", &lifecycle.ended),
        ("lifecycle.removed", &lifecycle.removed),
    ];
    let origin = Some(Origin::file(folder));
    let row = |key: &str, at: usize, step: &Step| Effective {
        key: format!("{key}.{}", at + 1).into(),
        value: quoted(told(step)),
        origin: origin.clone(),
    };
    let of = |(key, steps): (&'static str, &Vec<Step>)| {
        steps.iter().enumerate().map(|(at, step)| row(key, at, step)).collect::<Vec<_>>()
    };
    parts.into_iter().flat_map(of).collect()
}

/// A step in a few words.
fn told(step: &Step) -> String {
    let what = match &step.what {
        Deed::Run { argv, .. } | Deed::Inside { argv } => argv.join(" "),
        Deed::Mount(mount) | Deed::RemoteMount(mount) => {
            format!("{} {} {}", mount.source, mount.kind, mount.options.join(","))
        }
        Deed::Await(seconds) => format!("{seconds} s"),
        Deed::KillSequence(sequence) => {
            let pair = |(signal, seconds): &(i32, u64)| match seconds {
                0 => SignalName(*signal).to_string(),
                seconds => format!("{}, {seconds} s", SignalName(*signal)),
            };
            sequence.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        Deed::Network | Deed::Empty(_) | Deed::Create(_) | Deed::Remove(_) | Deed::Signal(_) => {
            return step.name.clone();
        }
    };
    format!("{}: {what}", step.name)
}
