//! What may hang in the kernel: a look into a file system that the guest itself serves, the question for an address.
//! Such work has threads of its own, one at a time for a guest: so a guest that hangs holds up nobody, costs one thread,
//! and the end of the daemon does not wait for it.

use std::{io, sync::Arc, thread};

use tokio::sync::{Semaphore, oneshot};

/// What all such threads are called.
const THREAD: &str = "guestd-look";

/// Lets one piece of a guest's work through at a time.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Gate {
    /// Does the work in a thread, once the work before it has returned. Whoever waits sets the deadline; work whose future
    /// is dropped goes on, with nobody behind it until it has returned.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub async fn through<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (done, result) = oneshot::channel();
        thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let result = work();
            drop(turn);
            // Nobody may wait any more.
            let _ = done.send(result);
        })?;
        result.await.map_err(io::Error::other)
    }

    /// Whether nothing is under way.
    pub fn is_free(&self) -> bool {
        self.0.available_permits() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_hangs_costs_one_thread_and_its_successor_waits() {
        let gate = Gate::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let (let_go, hangs) = mpsc::channel::<()>();
        let count = begun.clone();
        let stuck = gate.through(move || {
            count.fetch_add(1, Ordering::SeqCst);
            hangs.recv()
        });
        assert!(timeout(Duration::from_millis(50), stuck).await.is_err());
        for _ in 0..3 {
            let count = begun.clone();
            let next = gate.through(move || count.fetch_add(1, Ordering::SeqCst));
            assert!(timeout(Duration::from_millis(20), next).await.is_err());
        }
        assert_eq!((begun.load(Ordering::SeqCst), gate.is_free()), (1, false));
        let_go.send(()).unwrap();
        assert_eq!(gate.through(|| 7).await.unwrap(), 7);
        assert!(gate.is_free());
    }
}
