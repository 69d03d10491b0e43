//! The manager's part for what must be on the disk.

use std::sync::Arc;

use tokio::{sync::oneshot, time::timeout};

use super::{super::state::DURABLE_WITHIN, Manager};
use crate::{kill_point::KillPoint, model::status::DaemonStatus};

impl Manager {
    /// Answers an operator once what was asked for is on the disk: whatever happens then, it is not forgotten. The loop does
    /// not wait for that.
    pub(super) fn answer<T: Send + 'static>(&self, reply: oneshot::Sender<T>, answer: T) {
        KillPoint::JobAccepted.pass();
        let Some(written) = self.state.durable() else {
            let _ = reply.send(answer);
            return;
        };
        tokio::spawn(async move {
            // A disk that does not answer is told of by its writer.
            let _ = timeout(DURABLE_WITHIN, written).await;
            KillPoint::Durable.pass();
            let _ = reply.send(answer);
        });
    }

    /// What readers see of the daemon, with what is the matter with the state directory.
    pub(super) fn with_trouble(&self) -> Arc<DaemonStatus> {
        Arc::new(DaemonStatus { unkept: self.state.trouble(), ..(*self.daemon).clone() })
    }
}
