//! The host: whether it is going down.

use std::{fmt, sync::Arc};

use crate::launch::Launcher;

/// Knows whether the host is going down. By itself it knows of no stop: without systemd nobody tells.
#[derive(Clone, Default)]
pub struct HostState(Option<Arc<dyn Launcher>>);

impl HostState {
    /// What starts guests knows the host.
    pub fn told_by(launcher: Arc<dyn Launcher>) -> Self {
        Self(Some(launcher))
    }

    /// Whether the host is going down.
    pub async fn stops(&self) -> bool {
        match &self.0 {
            Some(launcher) => launcher.host_stops().await,
            None => false,
        }
    }
}

impl fmt::Debug for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostState").field(&self.0.as_ref().map(|launcher| launcher.name())).finish()
    }
}
