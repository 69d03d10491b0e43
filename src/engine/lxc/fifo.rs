//! The monitor FIFO of one lxcpath: where every LXC monitor there tells about states and ends.
//!
//! LXC's own reader is lxc-monitord, which `lxc-monitor` brings to life. One reader may have the FIFO at a time; a
//! lock on it says who. So we take lxc-monitord's place where it is free and serve its clients, and are such a client
//! while a lxc-monitord runs.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{errno::Errno, sys::stat::Mode};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::{self, Receiver},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    monitord::Clients,
    record::{self, News},
    socket,
};
use crate::model::GuestName;

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

/// Where news of an lxcpath go.
pub(super) type Deliver = Arc<dyn Fn(&Path, &GuestName, News) + Send + Sync>;

/// Reads an lxcpath's news for ever.
pub(super) async fn follow(lxcpath: Arc<Path>, deliver: Deliver) {
    let mut tries = 0;
    loop {
        match Fifo::take(&lxcpath) {
            Ok(fifo) => {
                let error = fifo.serve(&lxcpath, &deliver).await;
                warn!("the monitor fifo of {} failed, opening it again: {error}", lxcpath.display());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if be_client(&lxcpath, &deliver).await.is_ok() {
                    debug!("lxc-monitord left {}", lxcpath.display());
                    tries = 0;
                    continue;
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

/// LXC's FIFO for an lxcpath (`lxc_monitor_fifo_name`); root's, whose runtime folder is `/run`.
fn location(lxcpath: &Path) -> PathBuf {
    let below = socket::trimmed(lxcpath);
    Path::new("/run/lxc").join(below.strip_prefix("/").unwrap_or(below)).join("monitor-fifo")
}

/// The FIFO, locked for us.
struct Fifo(Receiver);

impl Fifo {
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
        let fifo = pipe::OpenOptions::new().read_write(true).open_receiver(&path)?;
        lock(&fifo)?;
        // lxc-monitord removes it when it leaves: what was locked may not be what monitors open now.
        let ours = nix::sys::stat::fstat(fifo.as_fd())?;
        let there = fs::symlink_metadata(&path)?;
        if (ours.st_dev, ours.st_ino) != (there.dev(), there.ino()) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was replaced meanwhile"));
        }
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&fifo, CAPACITY) {
            debug!("the monitor fifo keeps its size: {error}");
        }
        Ok(Self(fifo))
    }

    /// Delivers what arrives and passes it on to lxc-monitord's clients, until an error.
    async fn serve(self, lxcpath: &Path, deliver: &Deliver) -> io::Error {
        let mut clients = Clients::listen(lxcpath);
        let mut buffer = vec![0; BATCH * record::SIZE];
        loop {
            tokio::select! {
                // In this order: who connected before a record was written gets it.
                biased;
                () = clients.accept() => continue,
                ready = self.0.readable() => if let Err(error) = ready { return error },
            }
            match self.0.try_read(&mut buffer) {
                // Writes of a record are atomic. Something else was written: what follows cannot be told apart.
                Ok(length) if length % record::SIZE != 0 => while self.0.try_read(&mut buffer).is_ok() {},
                Ok(length) => {
                    let (records, _) = buffer[..length].as_chunks();
                    for bytes in records {
                        clients.send(bytes);
                        hand_over(bytes, lxcpath, deliver);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
            }
        }
    }
}

fn hand_over(bytes: &[u8; record::SIZE], lxcpath: &Path, deliver: &Deliver) {
    if let Some((name, news)) = record::parse(bytes) {
        deliver(lxcpath, &name, news);
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

/// Reads the news from a running lxc-monitord until it leaves.
async fn be_client(lxcpath: &Path, deliver: &Deliver) -> io::Result<()> {
    let name = socket::monitord(lxcpath).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = socket::connect(&name).await?;
    let mut bytes = [0; record::SIZE];
    while stream.read_exact(&mut bytes).await.is_ok() {
        hand_over(&bytes, lxcpath, deliver);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifo_lies_where_lxc_puts_it() {
        assert_eq!(location(Path::new("/var/lib/lxc/")), Path::new("/run/lxc/var/lib/lxc/monitor-fifo"));
    }
}
