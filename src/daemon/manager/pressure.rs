//! How hard pressed the host is: read when somebody wants to start, and told where it holds starts back.

use std::{fs, io, path::PathBuf, sync::Arc};

use super::Manager;
use crate::{
    model::status::DaemonStatus,
    supervise::pressure::{Strain, some_avg10},
};

/// Where the kernel tells it.
const PRESSURE: &str = "/proc/pressure";
/// Names another folder with such files.
const VARIABLE: &str = "GUESTD_PRESSURE";

/// Reads how hard pressed the host is.
#[derive(Debug)]
pub(super) struct Gauge {
    folder: PathBuf,
    /// That the kernel does not tell was said.
    is_told: bool,
}

impl Gauge {
    /// Reads what the kernel tells.
    pub(super) fn of_kernel() -> Self {
        let folder = std::env::var_os(VARIABLE).map_or_else(|| PRESSURE.into(), PathBuf::from);
        Self { folder, is_told: false }
    }

    /// How it is now. The kernel answers from memory; a kernel that does not count it holds nobody back.
    fn read(&mut self) -> Strain {
        Strain { memory: self.share("memory"), io: self.share("io") }
    }

    fn share(&mut self, of: &str) -> Option<f32> {
        let path = self.folder.join(of);
        let read = fs::read_to_string(&path).and_then(|text| {
            some_avg10(&text).ok_or_else(|| io::Error::other("it has no \"some avg10\" from 0 to 100"))
        });
        match read {
            Ok(share) => return Some(share),
            Err(error) if !self.is_told => {
                let path = path.display();
                tracing::debug!(
                    "cannot see how hard pressed the host is: {path}: {error}; no start waits for that"
                );
                self.is_told = true;
            }
            Err(_) => {}
        }
        None
    }
}

impl Manager {
    /// Looks at the host where the fleet cannot go on without, and shows what came of it.
    pub(super) fn look_at_pressure(&mut self) {
        let now = self.clock.now();
        if self.fleet.wants_look(now) {
            self.fleet.press(self.gauge.read(), now);
        }
        let (before, now) = (self.daemon.held_back.as_deref(), self.fleet.held_back());
        if before == now {
            return;
        }
        match (before, now) {
            (None, Some(what)) => tracing::warn!("guests that are to be started wait for {what}"),
            (Some(_), None) => tracing::info!("guests are started again"),
            _ => {}
        }
        self.daemon = Arc::new(DaemonStatus { held_back: now.map(str::to_owned), ..(*self.daemon).clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_tell_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut gauge = Gauge { folder: folder.path().to_owned(), is_told: false };
        assert_eq!((gauge.read(), gauge.is_told), (Strain::default(), true));
        fs::write(folder.path().join("memory"), "some avg10=12.50 avg60=0.00 avg300=0.00 total=0\n").unwrap();
        fs::write(folder.path().join("io"), "nonsense").unwrap();
        assert_eq!(gauge.read(), Strain { memory: Some(12.5), io: None });
    }
}
