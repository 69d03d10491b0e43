//! Jobs, for the next daemon of this boot: one file each, `jobs/NUMBER.jsonl`.
//!
//! Its first line is the job as it was accepted, written whole; each further one is what has changed since, added in one
//! write. So what a change costs does not grow with the job. A last line without its end was cut off, and does not count:
//! what it would have told is done again.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    helper::{
        in_full,
        record::{self, RecordError},
    },
    kill_point::KillPoint,
    model::{JobId, Now},
    supervise::restore::{Change, Contradiction, LeftJob, Record, StoredJob},
};

const SUFFIX: &str = ".jsonl";
/// The largest file, in bytes: a job over twenty thousand guests, each with a long reason.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Why a job could not be stored or used.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    File(#[from] RecordError),
    #[error("{} has the form {found}; this version reads {}", .path.display(), StoredJob::VERSION)]
    Version { path: PathBuf, found: u32 },
    #[error("{} is that of job {found}", .path.display())]
    OtherJob { path: PathBuf, found: JobId },
    #[error("{} cannot be used", .path.display())]
    Contradiction {
        path: PathBuf,
        #[source]
        source: Contradiction,
    },
}

/// All that every version says of itself.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// The files of jobs.
#[derive(Debug)]
pub struct Jobs {
    folder: PathBuf,
    /// The jobs whose files are as they should be.
    stored: BTreeSet<JobId>,
}

impl Jobs {
    /// Those below this runtime directory.
    pub fn new(runtime: &Path) -> Self {
        Self { folder: runtime.join("jobs"), stored: BTreeSet::new() }
    }

    /// The jobs that an earlier daemon left, and the highest number that any had. What cannot be used is moved aside.
    pub fn take_left(&mut self, now: Now) -> (Vec<LeftJob>, JobId) {
        let (mut left, mut last) = (Vec::new(), JobId(0));
        // Their writers are gone, and had not done what they were about to store.
        record::sweep(&self.folder);
        let names = listed(&self.folder).unwrap_or_else(|error| {
            tracing::warn!("cannot read {}: {error}; jobs of before are lost", self.folder.display());
            Vec::new()
        });
        for name in names {
            let number = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok().map(JobId);
            last = last.max(number(name.split(record::ASIDE).next().unwrap_or_default()).unwrap_or(last));
            let Some(id) = number(&name) else { continue };
            match self.read(id, now) {
                Ok(job) => {
                    self.stored.insert(id);
                    left.extend(job);
                }
                Err(error) => self.set_aside(id, &error),
            }
        }
        (left, last)
    }

    fn read(&self, id: JobId, now: Now) -> Result<Option<LeftJob>, JobError> {
        let path = self.path(id);
        let Some(bytes) = record::read_bytes(&path, FILE_MAX)? else { return Ok(None) };
        let is_complete = bytes.ends_with(b"\n");
        let mut lines = bytes.split(|byte| *byte == b'\n');
        // What is behind the last line's end: nothing, or what was cut off.
        lines.next_back();
        let first = lines.next().unwrap_or_default();
        let Form { version } = record::decode(&path, first)?;
        if version != StoredJob::VERSION {
            return Err(JobError::Version { path, found: version });
        }
        let stored: StoredJob = record::decode(&path, first)?;
        if stored.id != id {
            return Err(JobError::OtherJob { path, found: stored.id });
        }
        let changes: Vec<Change> =
            lines.map(|line| record::decode(&path, line)).collect::<Result<_, RecordError>>()?;
        let job = LeftJob::new(stored, changes, is_complete, now);
        job.map(Some).map_err(|source| JobError::Contradiction { path, source })
    }

    fn set_aside(&self, id: JobId, error: &JobError) {
        let kept = match record::set_aside(&self.path(id)) {
            Ok(Some(aside)) => format!("it is kept as {}", aside.display()),
            Ok(None) => "and so is its file".to_owned(),
            Err(error) => in_full(&error),
        };
        tracing::warn!(guest_job = %id, "{}; job {id} is lost, {kept}", in_full(error));
    }

    /// Stores what is to be known of jobs. One that cannot be stored ends with this daemon.
    pub fn record(&mut self, records: Vec<Record>) {
        for record in records {
            let (id, done) = match record {
                Record::Whole(job, change) => (job.id, self.begin(&job, &change)),
                Record::More(id, change) if self.stored.contains(&id) => (id, self.add(id, &change)),
                Record::More(..) => continue,
                Record::Forgotten(id) => {
                    self.stored.remove(&id);
                    (id, record::remove(&self.path(id)))
                }
            };
            if let Err(error) = done {
                tracing::warn!(
                    guest_job = %id,
                    "{}; a guestd that is started again will not know job {id}", in_full(&error)
                );
                // Half of it would have done again what is done.
                if self.stored.remove(&id) {
                    let _ = record::remove(&self.path(id));
                }
            }
        }
    }

    fn begin(&mut self, job: &StoredJob, change: &Change) -> Result<(), RecordError> {
        let mut lines = self.line(job.id, job)?;
        lines.extend(self.line(job.id, change)?);
        record::write_bytes(&self.folder, &file_name(job.id), &lines, FILE_MAX)?;
        KillPoint::JobWritten.pass();
        self.stored.insert(job.id);
        Ok(())
    }

    fn add(&self, id: JobId, change: &Change) -> Result<(), RecordError> {
        record::append(&self.path(id), &self.line(id, change)?, FILE_MAX)?;
        KillPoint::JobChanged.pass();
        Ok(())
    }

    fn line(&self, id: JobId, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
        let encoded = serde_json::to_vec(value);
        let mut line = encoded.map_err(|source| RecordError::Encode { path: self.path(id), source })?;
        line.push(b'\n');
        Ok(line)
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.folder.join(file_name(id))
    }
}

fn file_name(id: JobId) -> String {
    format!("{id}{SUFFIX}")
}

fn listed(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
