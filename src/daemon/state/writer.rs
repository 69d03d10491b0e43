//! The thread that writes the state directory's files.
//!
//! Of each guest the newest word counts: what is handed over while a batch is written waits, and replaces what waits
//! already. A batch is over before the next begins, so a file never goes back to something older. A large batch is shared
//! among a few threads: the file system then takes several files into one commit of its journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::stored::{self, StoredGuest};
use crate::{
    helper::{
        in_full,
        record::{self, RecordError},
    },
    kill_point::KillPoint,
    model::GuestName,
};

/// How long after a failure it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long what nobody waits for may lie before it is written: those that change while others start cost these no disk, and
/// what changes twice is written once.
const SETTLE: Duration = Duration::from_secs(1);
/// So many write at once, at most; each takes as many files as this at least.
const THREADS: usize = 4;
const SHARE: usize = 8;
/// How long the end of the daemon waits for the disk.
const AT_THE_END: Duration = Duration::from_secs(5);

/// What is to become of a guest's file.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// It is written.
    Whole(Arc<StoredGuest>),
    /// It goes.
    Nothing,
}

/// How soon a file is written, where nobody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// As soon as the disk has time.
    Now,
    /// When it has lain for [`SETTLE`].
    Settled,
}

type Batch = BTreeMap<GuestName, Write>;

#[derive(Debug, Default)]
struct Queue {
    pending: Batch,
    /// When what is pending is to be written, though nobody waits for it.
    due: Option<Instant>,
    /// What failed, and is tried again.
    failed: Batch,
    is_writing: bool,
    /// Whoever waits for what is pending.
    waiting: Vec<oneshot::Sender<()>>,
    /// Why the last that failed did.
    trouble: Option<String>,
    ends: bool,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    queue: Mutex<Queue>,
    /// There is something to do.
    wake: Condvar,
    /// A batch is over.
    done: Condvar,
    changed: Notify,
}

/// The writer's end at the manager. When it is dropped, what was handed over is on the disk, unless that takes too long.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

impl Writer {
    /// Begins to write into this folder; `sound` are those whose files there were read.
    pub(super) fn begin(folder: PathBuf, sound: Vec<GuestName>) -> Self {
        let (queue, wake, done, changed) = Default::default();
        let shared = Arc::new(Shared { folder, queue, wake, done, changed });
        let of_thread = shared.clone();
        let begun = thread::Builder::new().name("state".into()).spawn(move || {
            let sound = sound.into_iter().collect();
            Work { shared: of_thread, sound }.run();
        });
        if let Err(error) = begun {
            tracing::warn!("cannot begin a thread: {error}; nothing is kept in {}", shared.folder.display());
            shared.lock().ends = true;
        }
        Self(shared)
    }

    /// Hands over what is to become of a guest's file, and how soon.
    pub(super) fn write(&self, name: &GuestName, what: Write, haste: Haste) {
        let mut queue = self.0.lock();
        if queue.ends {
            return;
        }
        queue.failed.remove(name);
        queue.pending.insert(name.clone(), what);
        let due = match haste {
            Haste::Now => Instant::now(),
            Haste::Settled => Instant::now() + SETTLE,
        };
        let is_sooner = queue.due.is_none_or(|known| due < known);
        if is_sooner {
            queue.due = Some(due);
            drop(queue);
            self.0.wake.notify_one();
        }
    }

    /// See [`super::StateStore::durable`].
    pub(super) fn written(&self) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.0.lock();
        if queue.ends || (queue.pending.is_empty() && !queue.is_writing) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        queue.waiting.push(sender);
        drop(queue);
        self.0.wake.notify_one();
        Some(receiver)
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.clone()
    }

    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let deadline = Instant::now() + AT_THE_END;
        let mut queue = self.0.lock();
        queue.ends = true;
        self.0.wake.notify_one();
        while queue.is_writing || !queue.pending.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(
                    "{} takes too long: the last changes are not kept there",
                    self.0.folder.display()
                );
                return;
            }
            queue = self.0.done.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Queue {
    /// How long until what is pending is to be written; none where nothing is.
    fn left(&self, now: Instant) -> Option<Duration> {
        if !self.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.pending.is_empty() {
            return None;
        }
        let due = self.due.filter(|_| !self.ends);
        Some(due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now)))
    }
}

impl Shared {
    /// A thread that panicked has left the queue as good as it was.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to write; none when the daemon ends.
    fn next(&self) -> Option<(Batch, Vec<oneshot::Sender<()>>)> {
        let mut queue = self.lock();
        let mut is_time = false;
        loop {
            if is_time && queue.pending.is_empty() {
                queue.pending = std::mem::take(&mut queue.failed);
                queue.due = None;
            }
            let left = queue.left(Instant::now());
            if left == Some(Duration::ZERO) {
                queue.is_writing = true;
                queue.due = None;
                return Some((std::mem::take(&mut queue.pending), std::mem::take(&mut queue.waiting)));
            }
            if queue.ends {
                return None;
            }
            let again = (!queue.failed.is_empty()).then_some(TRY_AGAIN);
            (queue, is_time) = match left.or(again) {
                None => (self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner), false),
                Some(left) => {
                    let waited = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
                    (waited.0, waited.1.timed_out())
                }
            };
        }
    }

    /// A batch is over, and this of it has failed. What was handed over since counts instead.
    fn over(&self, failed: Batch, error: Option<String>) {
        let mut queue = self.lock();
        queue.is_writing = false;
        for (name, what) in failed {
            if !queue.pending.contains_key(&name) {
                queue.failed.insert(name, what);
            }
        }
        let trouble = if queue.failed.is_empty() { None } else { error.or_else(|| queue.trouble.clone()) };
        let (was, is) = (queue.trouble.is_some(), trouble.is_some());
        if let Some(error) = trouble.as_ref().filter(|_| !was) {
            tracing::warn!("{error}; it would not outlive guestd, and is tried again every {TRY_AGAIN:?}");
        }
        if was && !is {
            tracing::info!("what should outlive guestd is kept in {} again", self.folder.display());
        }
        queue.trouble = trouble;
        drop(queue);
        if was != is {
            self.changed.notify_one();
        }
        self.done.notify_all();
    }
}

/// What came of one file.
type Outcome = (GuestName, Write, Result<(), RecordError>);

/// The thread's own.
struct Work {
    shared: Arc<Shared>,
    /// Whose files were read or written by this daemon. Any other that is there is moved aside, not overwritten.
    sound: BTreeSet<GuestName>,
}

impl Work {
    fn run(mut self) {
        while let Some((batch, waiting)) = self.shared.next() {
            let (failed, error) = self.write_all(batch);
            self.shared.over(failed, error);
            for waiting in waiting {
                // It may have waited long enough.
                let _ = waiting.send(());
            }
        }
    }

    fn write_all(&mut self, batch: Batch) -> (Batch, Option<String>) {
        if batch.is_empty() {
            return (batch, None);
        }
        let folder = &self.shared.folder;
        let files: Vec<_> = batch.into_iter().collect();
        let share = files.len().div_ceil(THREADS).max(SHARE);
        let sound = &self.sound;
        let write = |share: &[(GuestName, Write)]| -> Vec<Outcome> {
            let written = share.iter().map(|(name, what)| {
                (name.clone(), what.clone(), carry_out(folder, name, what, sound.contains(name)))
            });
            written.collect()
        };
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let mut shares = files.chunks(share);
            let first = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|share| scope.spawn(|| write(share))).collect();
            let mut outcomes = write(first);
            outcomes.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_default()));
            outcomes
        });
        // The names are on the disk once their folder is.
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        let mut error = synced.err().map(|error| format!("could not write {}: {error}", folder.display()));
        let mut failed = Batch::new();
        for (name, what, result) in outcomes {
            match (result, &what) {
                (Ok(()), Write::Whole(_)) => drop(self.sound.insert(name)),
                (Ok(()), Write::Nothing) => drop(self.sound.remove(&name)),
                (Err(why), _) => {
                    error = Some(in_full(&why).to_string());
                    failed.insert(name, what);
                }
            }
        }
        (failed, error)
    }
}

/// Makes the folder, and the state directory above it.
fn make(folder: &Path) -> Result<(), RecordError> {
    if let Some(state) = folder.parent().filter(|state| !state.is_dir()) {
        record::ensure_folder(state)?;
    }
    record::ensure_folder(folder)
}

fn carry_out(folder: &Path, name: &GuestName, what: &Write, is_sound: bool) -> Result<(), RecordError> {
    let path = folder.join(stored::file_name(name));
    match what {
        Write::Whole(stored) => {
            make(folder)?;
            if !is_sound && let Some(aside) = record::set_aside(&path)? {
                tracing::warn!("{} is kept as {}", path.display(), aside.display());
            }
            stored::write(folder, stored)?;
            KillPoint::StateWritten.pass();
            Ok(())
        }
        Write::Nothing if is_sound => record::remove(&path),
        // Nobody has read it.
        Write::Nothing => Ok(()),
    }
}
