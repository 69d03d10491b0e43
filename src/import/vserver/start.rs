//! When and with whom a guest starts: marks, dependencies, `disabled`, the helper's timeout.

use std::time::Duration;

use crate::{
    import::{LIST_MAX, Layer, Sourced},
    model::{Auto, GroupName, Groups, GuestName},
};

use super::{number, reading::Reading};

/// How long util-vserver waits for a guest to stop where nothing is said.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What belongs to the settings that all guests have.
pub(super) fn read(reading: &mut Reading<'_>, layer: &mut Layer) {
    marks(reading, layer);
    depends(reading, layer);
    if reading.has("disabled") {
        layer.auto = Some(Sourced::new(Auto::No, reading.guest.origin("disabled")));
    }
    layer.stop_timeout = sync_timeout(reading);
}

/// A guest with a mark is started at boot, with those of the same mark: its group.
fn marks(reading: &mut Reading<'_>, layer: &mut Layer) {
    let lines = reading.lines("apps/init/mark");
    let Some(first) = lines.first().map(|line| line.origin.clone()) else { return };
    let mut names: Vec<GroupName> = Vec::new();
    for line in &lines {
        match GroupName::new(&line.text) {
            Ok(name) if names.contains(&name) => {}
            Ok(_) if names.len() == LIST_MAX => {
                reading.error(&line.origin, || format!("a guest has at most {LIST_MAX} marks; remove some"));
                break;
            }
            Ok(name) => names.push(name),
            Err(error) => reading.error(&line.origin, || format!("the mark is ignored: {error}")),
        }
    }
    layer.auto = Some(Sourced::new(Auto::Yes, first.clone()));
    layer.groups = Some(Sourced::new(Groups::In(names), first));
}

fn depends(reading: &mut Reading<'_>, layer: &mut Layer) {
    let lines = reading.lines("apps/init/depends");
    let Some(first) = lines.first().map(|line| line.origin.clone()) else { return };
    let mut names: Vec<GuestName> = Vec::new();
    for line in &lines {
        match GuestName::new(&line.text) {
            Ok(name) if names.contains(&name) => {}
            Ok(_) if names.len() == LIST_MAX => {
                reading.error(&line.origin, || {
                    format!("a guest depends on at most {LIST_MAX} others; remove some")
                });
                break;
            }
            Ok(name) => names.push(name),
            Err(error) => reading.error(&line.origin, || format!("the dependency is ignored: {error}")),
        }
    }
    layer.requires = Some(Sourced::new(names, first));
}

/// That of the guest, or of `.defaults`.
fn sync_timeout(reading: &mut Reading<'_>) -> Option<Sourced<Duration>> {
    const FILE: &str = "apps/vshelper/sync-timeout";
    const WANTED: &str = "a number of seconds, such as 30";
    let seconds = |text: &str| {
        let seconds = number::unsigned(text).and_then(|number| u32::try_from(number).ok());
        seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
    };
    let own = reading.value(FILE, WANTED, seconds);
    own.or_else(|| {
        let line = reading.defaults.first(FILE)?;
        match seconds(&line.text) {
            Some(timeout) => Some(Sourced::new(timeout, line.origin)),
            None => {
                reading.wrong(&line, WANTED);
                None
            }
        }
    })
}
