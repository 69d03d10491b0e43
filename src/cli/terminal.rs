//! This terminal, while it belongs to a guest: what runs there gets a terminal of the client's own, with the size of this
//! one, and everything is passed on between the two.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::OptionalActions,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

use super::{
    bus::Bus,
    error::Error,
    keyboard::Keyboard,
    session::{self, Wish},
};
use crate::terminal::{Raw, resize};

/// How long what was printed last may take to come.
const LAST_WORDS: Duration = Duration::from_secs(1);
const PIECE: usize = 16 * 1024;

/// Whether somebody sits before this program, and sees what is printed.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Setup { operation, source }
}

/// This terminal, for one session after the other.
pub struct Terminal {
    keyboard: Keyboard,
    resized: Signal,
    ended: Signal,
    hung_up: Signal,
}

impl Terminal {
    /// Prepares it; nothing is changed yet.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(failed("listen for signals"));
        Ok(Self {
            keyboard: Keyboard::listen().map_err(failed("read the keyboard"))?,
            resized: listen(SignalKind::window_change())?,
            // So that it is set back before this program ends.
            ended: listen(SignalKind::terminate())?,
            hung_up: listen(SignalKind::hangup())?,
        })
    }

    /// Runs what is wanted on it, and hands out the exit status.
    ///
    /// # Errors
    /// [`Error`]: as of [`session::attach`], or that it was left.
    pub async fn run(&mut self, bus: &Bus, wish: Wish<'_>) -> Result<u8, Error> {
        let pair = Pair::open().map_err(|error| failed("open a terminal")(error.into()))?;
        let (master, stdio) = (pair.master.clone(), pair.stdio);
        let (printed, is_printed) = oneshot::channel();
        let mut raw = None;
        let keyboard = &self.keyboard;
        let begun = || {
            raw = Raw::begin(OptionalActions::Drain);
            keyboard.types_into(Some(master.clone()));
            let from = master.clone();
            // Without the thread nothing is shown, and all the rest works.
            let _ = thread::Builder::new().name("screen".into()).spawn(move || {
                print_all(&from);
                let _ = printed.send(());
            });
        };
        let left = || Error::Left { guest: wish.guest.to_owned() };
        let end = {
            let mut session = std::pin::pin!(session::attach(bus, wish, stdio, begun));
            loop {
                tokio::select! {
                    end = &mut session => break end,
                    _ = self.resized.recv() => resize(io::stdout(), &*master),
                    () = keyboard.left() => break Err(left()),
                    _ = self.ended.recv() => break Err(left()),
                    _ = self.hung_up.recv() => break Err(left()),
                }
            }
        };
        keyboard.types_into(None);
        if end.is_ok() {
            // Where it has not begun, nothing will come.
            let _ = timeout(LAST_WORDS, is_printed).await;
        }
        drop(raw);
        end
    }
}

/// A terminal for the other side.
struct Pair {
    master: Arc<OwnedFd>,
    stdio: [OwnedFd; 3],
}

impl Pair {
    fn open() -> Result<Self, Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let open = || ioctl_tiocgptpeer(&master, flags);
        let stdio = [open()?, open()?, open()?];
        resize(io::stdout(), &master);
        Ok(Self { master: Arc::new(master), stdio })
    }
}

/// Prints what comes until nobody is at the other end.
fn print_all(master: &OwnedFd) {
    let Ok(master) = master.try_clone().map(File::from) else { return };
    let mut buffer = vec![0; PIECE];
    loop {
        match (&master).read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let mut out = io::stdout().lock();
                if out.write_all(&buffer[..length]).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut waited = [PollFd::new(&master, PollFlags::IN)];
                match poll(&mut waited, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The last one has closed it.
            Err(_) => return,
        }
    }
}
