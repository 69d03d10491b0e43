//! The monitor FIFO of one lxcpath: where every LXC monitor there tells about states and ends.
//!
//! LXC's own reader is lxc-monitord, which `lxc-monitor` brings to life. One reader may have the FIFO at a time; a
//! lock on it says who. So we take lxc-monitord's place where it is free and serve its clients, and are such a client
//! while a lxc-monitord runs. A FIFO that somebody removes is made again: monitors would write to nobody.

use std::{
    fs,
    future::pending,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use inotify::{Inotify, WatchMask};
use nix::{errno::Errno, sys::stat::Mode};
use tokio::{
    io::{AsyncReadExt, unix::AsyncFd},
    net::unix::pipe::{self, Receiver},
    sync::Notify,
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    monitord::Clients,
    record::{self, News},
    socket,
};
use crate::{model::GuestName, systemd::fdstore};

/// How many records are taken from the FIFO at once.
const BATCH: usize = 64;
/// How many bytes the FIFO shall hold, where the kernel's limit allows it: monitors that find it full have to wait.
const CAPACITY: usize = 1 << 20;
/// Waits between tries while lxc-monitord is coming or going; the last is repeated.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(5),
];

/// Takes the news of a container of an lxcpath.
type Deliver = Box<dyn Fn(&Path, &GuestName, News) + Send + Sync>;

/// Reads the news of one lxcpath.
pub(super) struct Reader {
    pub(super) lxcpath: Arc<Path>,
    /// Where its news go.
    pub(super) deliver: Deliver,
    /// Called when news may have been lost.
    pub(super) missed: Box<dyn Fn(&Path) + Send + Sync>,
    /// Somebody wants it made sure that the right FIFO is read.
    pub(super) recheck: Arc<Notify>,
}

impl Reader {
    /// Reads for ever; first the FIFO that was kept, if there is one.
    pub(super) async fn follow(self, mut kept: Option<OwnedFd>) {
        let lxcpath = &*self.lxcpath;
        let mut tries = 0;
        loop {
            // No monitor runs there, and LXC's folders are made for lxcpaths only.
            while !lxcpath.is_dir() {
                self.recheck.notified().await;
            }
            match kept.take().map_or_else(|| Fifo::take(lxcpath), |kept| Fifo::again(kept, lxcpath)) {
                Ok(fifo) => {
                    // Exits while no daemon reads it are told to the next one.
                    fdstore::keep(&kept_as(fifo.identity), fifo.pipe.as_fd());
                    if tries > 0 {
                        (self.missed)(lxcpath);
                    }
                    let identity = fifo.identity;
                    let error = self.serve(fifo).await;
                    fdstore::forget(&kept_as(identity));
                    warn!("the monitor fifo of {} failed, opening it again: {error}", lxcpath.display());
                    tries = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.be_client().await.is_ok() {
                        debug!("lxc-monitord left {}", lxcpath.display());
                        tries = 0;
                    }
                }
                Err(error) if tries == 0 => {
                    warn!(
                        "cannot open the monitor fifo of {}, exit statuses may stay unknown: {error}",
                        lxcpath.display()
                    );
                }
                Err(_) => {}
            }
            sleep(RETRIES[tries.min(RETRIES.len() - 1)]).await;
            tries += 1;
        }
    }

    /// Delivers what arrives and passes it on to lxc-monitord's clients, until an error.
    async fn serve(&self, fifo: Fifo) -> io::Error {
        let mut clients = Clients::listen(&self.lxcpath);
        let mut folder = Folder::of(&self.lxcpath);
        while fifo.is_current(&self.lxcpath) {
            tokio::select! {
                // In this order: who connected before a record was written gets it.
                biased;
                () = clients.accept() => continue,
                ready = fifo.pipe.readable() => if let Err(error) = ready { return error },
                () = folder.changed() => continue,
                () = self.recheck.notified() => continue,
            }
            if let Err(error) = self.pass_on(&fifo, &mut clients) {
                return error;
            }
        }
        // What was written before.
        while self.pass_on(&fifo, &mut clients).is_ok_and(|read| read) {}
        io::Error::new(io::ErrorKind::NotFound, "it was removed or replaced")
    }

    /// Reads the FIFO once. Returns whether there was something.
    fn pass_on(&self, fifo: &Fifo, clients: &mut Clients) -> io::Result<bool> {
        let mut buffer = [0; BATCH * record::SIZE];
        match fifo.pipe.try_read(&mut buffer) {
            // Writes of a record are atomic. Something else was written: what follows cannot be told apart.
            Ok(length) if length % record::SIZE != 0 => while fifo.pipe.try_read(&mut buffer).is_ok() {},
            Ok(length) => {
                let (records, _) = buffer[..length].as_chunks();
                for bytes in records {
                    clients.send(bytes);
                    self.hand_over(bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Reads the news from a running lxc-monitord until it leaves, or there is another FIFO.
    async fn be_client(&self) -> io::Result<()> {
        let name = socket::monitord(&self.lxcpath).ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = Folder::of(&self.lxcpath);
        let path = location(&self.lxcpath);
        let read_by_it = identity(&path).ok();
        let mut stream = socket::connect(&name).await?;
        let read = async {
            let mut bytes = [0; record::SIZE];
            while stream.read_exact(&mut bytes).await.is_ok() {
                self.hand_over(&bytes);
            }
        };
        let replaced = async {
            while identity(&path).ok() == read_by_it {
                tokio::select! {
                    () = folder.changed() => {}
                    () = self.recheck.notified() => {}
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = replaced => {}
        }
        Ok(())
    }

    fn hand_over(&self, bytes: &[u8; record::SIZE]) {
        if let Some((name, news)) = record::parse(bytes) {
            (self.deliver)(&self.lxcpath, &name, news);
        }
    }
}

/// The folder of a FIFO, under observation where the kernel lets us.
struct Folder(Option<AsyncFd<Inotify>>);

impl Folder {
    fn of(lxcpath: &Path) -> Self {
        let watch = || {
            let inotify = Inotify::init()?;
            let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::MOVE_SELF;
            inotify.watches().add(location(lxcpath).parent().unwrap_or(Path::new("/")), mask)?;
            // SAFETY: the descriptor belongs to `inotify`, which moves into the `AsyncFd`, is never replaced in it, and
            // lives exactly as long.
            unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)
        };
        Self(watch().inspect_err(|error| debug!("cannot watch for the monitor fifo: {error}")).ok())
    }

    /// Waits until something has happened there.
    async fn changed(&mut self) {
        let Some(inotify) = &mut self.0 else { return pending().await };
        // An error means that the runtime is ending.
        let Ok(mut guard) = inotify.readable_mut().await else { return pending().await };
        while guard
            .get_inner_mut()
            .read_events(&mut [0; 1024])
            .is_ok_and(|mut events| events.next().is_some())
        {}
        guard.clear_ready();
    }
}

/// LXC's FIFO for an lxcpath (`lxc_monitor_fifo_name`); root's, whose runtime folder is `/run`.
fn location(lxcpath: &Path) -> PathBuf {
    let below = socket::trimmed(lxcpath);
    Path::new("/run/lxc").join(below.strip_prefix("/").unwrap_or(below)).join("monitor-fifo")
}

/// The name under which systemd keeps the FIFO of an lxcpath while guestd is started again, if there is a FIFO.
pub(super) fn kept_name(lxcpath: &Path) -> Option<String> {
    identity(&location(lxcpath)).ok().map(kept_as)
}

fn kept_as((device, inode): (u64, u64)) -> String {
    format!("lxc-monitor-fifo-{device:x}-{inode}")
}

/// What was written to a FIFO while it was kept, with nobody to read it.
pub(super) fn backlog(kept: BorrowedFd<'_>) -> Vec<(GuestName, News)> {
    let mut news = Vec::new();
    let mut buffer = [0; BATCH * record::SIZE];
    // It does not block, as nothing of ours does.
    while let Ok(length @ 1..) = nix::unistd::read(kept, &mut buffer) {
        let (records, _) = buffer[..length].as_chunks();
        news.extend(records.iter().filter_map(record::parse));
    }
    news
}

/// What tells a file from every other.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// The FIFO, locked for us.
struct Fifo {
    pipe: Receiver,
    identity: (u64, u64),
}

impl Fifo {
    /// Takes on what was kept open, with its lock.
    fn again(kept: OwnedFd, lxcpath: &Path) -> io::Result<Self> {
        Self::of(Receiver::from_owned_fd(kept)?, lxcpath)
    }

    /// Opens it, makes it where it is missing, and takes the lock. `WouldBlock` when somebody else has it.
    fn take(lxcpath: &Path) -> io::Result<Self> {
        let path = location(lxcpath);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        match nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Open for writing too: so it never reads as closed between two monitors.
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(&path)?;
        lock(&pipe)?;
        Self::of(pipe, lxcpath)
    }

    fn of(pipe: Receiver, lxcpath: &Path) -> io::Result<Self> {
        let ours = nix::sys::stat::fstat(pipe.as_fd())?;
        let fifo = Self { pipe, identity: (ours.st_dev, ours.st_ino) };
        // lxc-monitord removes it when it leaves: what was locked may not be what monitors open now.
        if !fifo.is_current(lxcpath) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was replaced meanwhile"));
        }
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&fifo.pipe, CAPACITY) {
            debug!("the monitor fifo keeps its size: {error}");
        }
        Ok(fifo)
    }

    /// Whether it is the one that monitors open now.
    fn is_current(&self, lxcpath: &Path) -> bool {
        identity(&location(lxcpath)).is_ok_and(|there| there == self.identity)
    }
}

/// Takes the lock that lxc-monitord takes, but owned by the open file, so that no other descriptor of this process
/// can lose it. Released when the file is closed.
fn lock(fifo: &Receiver) -> io::Result<()> {
    // SAFETY: a flock of zeros is valid: from the start of the file to its end; `l_pid` must be zero for this kind.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = i16::try_from(libc::F_WRLCK).unwrap_or_default();
    match nix::fcntl::fcntl(fifo.as_fd(), nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(()),
        Err(Errno::EACCES | Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => {
            debug!("locking descriptor {} failed", fifo.as_raw_fd());
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifo_lies_where_lxc_puts_it() {
        assert_eq!(location(Path::new("/var/lib/lxc/")), Path::new("/run/lxc/var/lib/lxc/monitor-fifo"));
    }
}
